//! The AWS double: its process, its controls, and clients with an account's root keys.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_iam::config::SharedHttpClient;
use rolectl_aws::api::{Aws as _, Iam};
use rolectl_aws::sdk::SdkAws;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::{Process, Spawn};
use crate::tools::Tools;

/// A running double. Ends when dropped.
#[derive(Debug)]
pub struct Double {
    /// Value for `AWS_ENDPOINT_URL`.
    pub endpoint: String,
    _process: Process,
}

/// The call log of one account, or of all.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Calls {
    /// How many.
    pub total: usize,
    /// By account, then by action.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
    /// Each call, in order.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Call {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// ARN of the caller; for an assumed role it ends in the session's name.
    pub principal: String,
    /// What the caller's SDK names as its application, `AWS_SDK_UA_APP_ID`.
    pub app: String,
    /// API action.
    pub action: String,
    /// HTTP status of the answer.
    pub status: u16,
}

impl Calls {
    /// Counts by action, whatever the account.
    pub fn by_action(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for (action, n) in self.counts.values().flatten() {
            *all.entry(action.as_str()).or_default() += n;
        }
        all
    }
}

impl Double {
    /// Starts the double on a free port.
    pub fn start(tools: &Tools, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (process, stdout) = Process::spawn(Spawn {
            name: "aws-double",
            program: &tools.double,
            args: vec!["127.0.0.1:0".to_owned()],
            env: vec![],
            log: &dir.join("aws-double.log"),
            remove_at_end: None,
            pipe: true,
        })?;
        let mut line = String::new();
        std::io::BufReader::new(stdout.context("no output")?).read_line(&mut line)?;
        let hello: Value = serde_json::from_str(&line).context("aws-double did not start")?;
        let endpoint = hello["endpoint"].as_str().context("no endpoint")?.to_owned();
        Ok(Self {
            endpoint,
            _process: process,
        })
    }

    /// Every secret key and session token that was given out so far.
    pub async fn secrets(&self) -> Result<Vec<String>> {
        let url = format!("{}/_double/secrets", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/_double/{path}", self.endpoint);
        Ok(reqwest::Client::new()
            .post(url)
            .json(body)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?)
    }

    /// Root credentials of an account, which is made if it does not exist.
    pub async fn root(&self, account: &str) -> Result<Credentials> {
        let keys = self.post("account", &json!({"account": account})).await?;
        let text = |key: &str| keys[key].as_str().map(str::to_owned).context("no key");
        Ok(Credentials::new(
            text("access_key_id")?,
            text("secret_access_key")?,
            None,
            None,
            "root",
        ))
    }

    fn config(&self, credentials: Credentials) -> SdkConfig {
        self.config_with(credentials, rolectl_aws::network::http_client())
    }

    fn config_with(&self, credentials: Credentials, http: SharedHttpClient) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&self.endpoint)
            .region(Region::from_static("us-east-1"))
            .retry_config(RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// IAM on given credentials.
    pub fn iam(&self, credentials: Credentials) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config(credentials))
    }

    /// IAM on given credentials and connections, for callers with many accounts. Connections end with the runtime that made them.
    pub fn iam_with(&self, credentials: Credentials, http: SharedHttpClient) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config_with(credentials, http))
    }

    /// IAM on given credentials, as the engine calls it.
    ///
    /// # Errors
    /// When the engine does not know the partition.
    pub fn engine_iam(&self, credentials: Credentials) -> Result<Arc<dyn Iam>> {
        let provider = SharedCredentialsProvider::new(credentials.clone());
        Ok(SdkAws::new(self.config(credentials)).iam(provider, "aws")?)
    }

    /// STS on given credentials.
    pub fn sts(&self, credentials: Credentials) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config(credentials))
    }

    /// The calls made on credentials of an account, without the first `skip`.
    pub async fn calls(&self, account: &str, skip: usize) -> Result<Calls> {
        let url = format!("{}/_double/calls?account={account}&skip={skip}", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// How many calls were made on an account's credentials, by account, then by action.
    pub async fn counts(&self) -> Result<BTreeMap<String, BTreeMap<String, usize>>> {
        let url = format!("{}/_double/counts", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// Ends a session, or moves its end and its age.
    pub async fn expire(
        &self,
        access_key_id: &str,
        in_seconds: Option<i64>,
        age_seconds: Option<i64>,
    ) -> Result<()> {
        let body =
            json!({"access_key_id": access_key_id, "in_seconds": in_seconds, "age_seconds": age_seconds});
        self.post("expire", &body).await.map(|_| ())
    }

    /// Replaces the fault rules of calls on an account's credentials.
    pub async fn faults(&self, account: &str, rules: Value) -> Result<()> {
        self.post(&format!("faults/{account}"), &rules).await.map(|_| ())
    }

    /// Sets quotas of an account, by their names in `GetAccountSummary`.
    pub async fn quotas(&self, account: &str, quotas: Value) -> Result<()> {
        self.post(&format!("quotas/{account}"), &quotas).await.map(|_| ())
    }

    /// Makes reads in an account trail writes.
    pub async fn lag(&self, account: &str, milliseconds: u64) -> Result<()> {
        self.post(&format!("lag/{account}"), &json!({"ms": milliseconds}))
            .await
            .map(|_| ())
    }
}
