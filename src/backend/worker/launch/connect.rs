//! Workers that somebody else started: used where they are, and left running.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Address, Ended, LaunchError, Launcher, Running, Wanted};

/// A worker at an address.
#[derive(Debug, Clone)]
pub struct ConnectLauncher {
    address: Address,
    token_env: Option<String>,
}

impl ConnectLauncher {
    /// A worker at `unix:/path` or `tcp:127.0.0.1:PORT`. `token_env` names the variable with its token, if it wants one.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn new(address: &str, token_env: Option<&str>) -> Result<Self, LaunchError> {
        let address = address.parse()?;
        Ok(Self { address, token_env: token_env.map(str::to_owned) })
    }
}

/// The worker, as far as we know it.
struct Connected {
    address: Address,
    token: Option<String>,
}

#[tonic::async_trait]
impl Launcher for ConnectLauncher {
    async fn launch(&self, _wanted: Wanted<'_>) -> Result<Box<dyn Running>, LaunchError> {
        let token = match &self.token_env {
            None => None,
            Some(name) => Some(std::env::var(name).map_err(|_| LaunchError {
                what: format!("the environment variable {name}, which is to hold the worker's token, is not set"),
                fix: format!("export {name}=…   (the token the worker was started with)"),
            })?),
        };
        Ok(Box::new(Connected { address: self.address.clone(), token }))
    }
}

#[tonic::async_trait]
impl Running for Connected {
    fn address(&self) -> &Address {
        &self.address
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("address".to_owned(), self.address.to_string())])
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn last_words(&self) -> String {
        String::new()
    }

    async fn ended(&mut self) -> Ended {
        // Nobody tells us; its connection does.
        std::future::pending().await
    }

    async fn kill(&mut self) {}
}
