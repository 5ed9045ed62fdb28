//! Loads, warmups, regimes and degraded calls of a scripted run, as the tables give them back.
