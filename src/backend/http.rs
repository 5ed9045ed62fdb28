//! Servers over HTTP, whatever they speak: requests that are bounded and stamped, replies cut into lines and events,
//! and what any reply can be judged by.
//!
//! - [`client`] sends and stamps; nothing is parsed while a reply arrives.
//! - [`lines`] cuts bytes into lines wherever they were broken on the way: a reply of JSON lines is its lines, and
//!   [`events`] makes a reply's server-sent events of them.
//! - [`refusal`] reads the words of a server that says no, [`judge`] decides what each end of an exchange means,
//!   [`clocks`] holds a server's durations against what passed here.
//!
//! Async code stays in [`client`]. What only one server says or does stands in that server's own folder.

pub mod client;
pub mod clocks;
pub mod events;
pub mod judge;
pub mod lines;
pub mod refusal;

pub use client::{Client, ClientError, Exchange, ExchangeEnd};
