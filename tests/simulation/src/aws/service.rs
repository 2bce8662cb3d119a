//! Every account, every credential, and who has called what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::fault::{Fault, Weather};
use super::iam::{ApiError, Iam, Limits, Role, State, Write};
use crate::cluster::{Cluster, account_id};
use crate::rules::{self, Begun};

/// A request to IAM.
#[derive(Clone, Debug)]
pub enum Request {
    /// One that changes something.
    Write(Write),
    /// One that reads.
    Read(Read),
}

/// A request that reads.
#[derive(Clone, Debug)]
pub enum Read {
    /// `ListRoles`, from this role on.
    Roles(Option<String>),
    /// `GetAccountAuthorizationDetails`, from this role on.
    Details(Option<String>),
    /// `GetAccountSummary`.
    Summary,
    /// `GetRole`.
    Role(String),
    /// `GetInstanceProfile`.
    Profile(String),
    /// `AssumeRole` or `GetCallerIdentity`: what it answers does not depend on a state.
    Sts,
}

/// An answer: the state that a read sees, or that a change has left.
pub type Answer = Result<Option<Arc<State>>, ApiError>;

/// Whose an access key is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The operator's session that it comes from.
    pub session: String,
    /// The account that it leads to.
    pub account: String,
    /// When AWS ends it.
    pub expires: Instant,
}

/// What happened to a role that nobody can read in it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When an outsider last touched it.
    pub touched: Option<Instant>,
    /// When it last became somebody else's.
    pub foreign_since: Option<Instant>,
    /// Unique ids that once carried an owner tag, with that.
    pub owners: BTreeMap<String, String>,
    /// Calls about it, by hour.
    pub calls: BTreeMap<u64, u32>,
}

/// What AWS knows, under one lock.
#[derive(Debug)]
pub struct Aws {
    /// IAM by account id.
    pub accounts: BTreeMap<String, Iam>,
    /// By access key id.
    pub credentials: BTreeMap<String, Credential>,
    /// Operators' sessions that AWS does not accept any more.
    pub revoked: BTreeSet<String>,
    /// Operators' sessions that a replica was told are locked.
    pub locked: BTreeSet<(usize, String)>,
    /// By account id and role name in lower case.
    pub histories: BTreeMap<(String, String), History>,
    /// The weather now.
    pub weather: Weather,
    /// Faults of single calls, by the number of the call.
    pub script: BTreeMap<u64, Fault>,
    /// Replicas that a fault has killed.
    pub killed: Vec<usize>,
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that changed something.
    pub writes: u64,
    /// Number of calls that AWS has made and that changed nothing.
    pub repeated: u64,
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// What happened, if anybody reads it.
    pub trace: Option<Vec<String>>,
    taken: BTreeMap<String, Vec<Instant>>,
    rng: StdRng,
    keys: u64,
    began: Instant,
}

/// AWS.
#[derive(Debug)]
pub struct World {
    aws: Mutex<Aws>,
    /// The objects, which the rules read.
    pub cluster: Arc<Cluster>,
    /// Somebody was killed, or a rule was broken.
    pub changed: Notify,
}

impl World {
    /// Two accounts without roles.
    pub fn new(seed: u64, traces: bool) -> Arc<Self> {
        let limits = Limits {
            roles: 20,
            attached: 10,
        };
        let accounts = (0..2)
            .map(|n| (account_id(n), Iam::new(&account_id(n), limits)))
            .collect();
        Arc::new(Self {
            aws: Mutex::new(Aws {
                accounts,
                credentials: BTreeMap::new(),
                revoked: BTreeSet::new(),
                locked: BTreeSet::new(),
                histories: BTreeMap::new(),
                weather: Weather {
                    latency: Duration::from_millis(30),
                    ..Weather::default()
                },
                script: BTreeMap::new(),
                killed: vec![],
                calls: 0,
                writes: 0,
                repeated: 0,
                violation: None,
                trace: traces.then(Vec::new),
                taken: BTreeMap::new(),
                rng: StdRng::seed_from_u64(seed),
                keys: 0,
                began: Instant::now(),
            }),
            cluster: Cluster::new(),
            changed: Notify::new(),
        })
    }

    /// Reads or changes what AWS knows.
    pub fn with<T>(&self, act: impl FnOnce(&mut Aws) -> T) -> T {
        act(&mut self.aws.lock())
    }

    /// Notes what happened.
    pub fn note(&self, what: impl FnOnce() -> String) {
        self.with(|aws| aws.note(what));
    }

    /// Records that a rule was broken.
    pub fn broken(&self, what: String) {
        self.with(|aws| {
            aws.note(|| format!("BROKEN: {what}"));
            aws.violation.get_or_insert(what);
        });
        self.changed.notify_one();
    }

    /// Makes one call. It returns when an answer arrives, if one does.
    pub async fn call(
        self: &Arc<Self>,
        replica: usize,
        key: &str,
        operation: &'static str,
        request: Request,
    ) -> Result<Option<Arc<State>>, Lost> {
        let (begun, fault, latency, lag) = self.begin(replica, key, operation, &request)?;
        if fault == Some(Fault::KilledBefore) {
            self.kill(replica);
            return std::future::pending().await;
        }
        let (sender, receiver) = oneshot::channel();
        let (world, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(latency).await;
            let answer = world.serve(&key, operation, &request, &begun, fault, lag);
            if matches!(fault, Some(Fault::Hangs | Fault::HangsDone)) {
                // The connection stays open for longer than anybody waits.
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            tokio::time::sleep(latency).await;
            let lost = matches!(fault, Some(Fault::LostAnswer | Fault::LostRequest));
            drop(sender.send((!lost).then_some(answer)));
        });
        if fault == Some(Fault::KilledAfter) {
            self.kill(replica);
            return std::future::pending().await;
        }
        match receiver.await {
            Ok(Some(Ok(seen))) => Ok(seen),
            Ok(Some(Err(error))) => Err(Lost::Error(error)),
            _ => Err(Lost::Connection),
        }
    }

    fn kill(&self, replica: usize) {
        self.with(|aws| aws.killed.push(replica));
        self.changed.notify_one();
    }

    #[allow(clippy::type_complexity, reason = "used once")]
    fn begin(
        &self,
        replica: usize,
        key: &str,
        operation: &'static str,
        request: &Request,
    ) -> Result<(Begun, Option<Fault>, Duration, Duration), Lost> {
        let (credential, number) = self.with(|aws| {
            aws.calls += 1;
            (aws.credentials.get(key).cloned(), aws.calls)
        });
        let Some(credential) = credential else {
            return Err(Lost::Error(ApiError {
                code: "InvalidClientTokenId",
                message: "The security token included in the request is invalid.".to_owned(),
            }));
        };
        let begun = match rules::may_begin(self, replica, &credential, operation, request) {
            Ok(begun) => begun,
            Err(broken) => {
                self.broken(format!("call {number}, {operation}: {broken}"));
                return Err(Lost::Connection);
            }
        };
        Ok(self.with(|aws| {
            let (weather, scripted) = (aws.weather, aws.script.get(&number).copied());
            let fault = scripted.or_else(|| weather.fault(&mut aws.rng));
            let draw = |rng: &mut StdRng, most: Duration| most.mul_f64(rng.random_range(0.0..1.0));
            let latency = Duration::from_millis(5) + draw(&mut aws.rng, weather.latency) / 2;
            let lag = draw(&mut aws.rng, weather.lag);
            aws.note(|| format!("#{number} replica {replica} {operation} {request:?} fault {fault:?}"));
            (begun, fault, latency, lag)
        }))
    }

    fn serve(
        &self,
        key: &str,
        operation: &'static str,
        request: &Request,
        begun: &Begun,
        fault: Option<Fault>,
        lag: Duration,
    ) -> Answer {
        if matches!(fault, Some(Fault::LostRequest | Fault::Hangs)) {
            return Ok(None);
        }
        if let Some(Fault::Refused(code)) = fault {
            return Err(ApiError {
                code,
                message: refusal(code, operation),
            });
        }
        let answer = self
            .with(|aws| aws.authenticate(key))
            .and_then(|account| self.act(&account, request, begun, lag));
        self.with(|aws| {
            aws.note(|| {
                format!(
                    "   {operation}: {}",
                    answer.as_ref().map_or_else(|e| e.code, |_| "ok")
                )
            })
        });
        match fault {
            Some(Fault::DoneAndRefused(code)) => Err(ApiError {
                code,
                message: refusal(code, operation),
            }),
            _ => answer,
        }
    }

    fn act(&self, account: &str, request: &Request, begun: &Begun, lag: Duration) -> Answer {
        match request {
            Request::Read(Read::Sts) => Ok(None),
            Request::Read(_) => self.with(|aws| Ok(Some(aws.iam(account).trailing(lag)))),
            Request::Write(write) => {
                let (before, result, after) = self.with(|aws| {
                    let before = aws.iam(account).now();
                    let result = aws.iam(account).write(write);
                    aws.writes += u64::from(result.is_ok());
                    let after = aws.iam(account).now();
                    aws.repeated += u64::from(result.is_ok() && *before == *after);
                    (before, result, after)
                });
                result?;
                if let Err(broken) = rules::was_right(self, account, write, begun, (&before, &after)) {
                    self.broken(format!("{write:?} in {account}: {broken}"));
                }
                self.with(|aws| aws.remember(account, write.target()));
                Ok(Some(after))
            }
        }
    }

    /// An outsider, who does not ask us, changes something.
    pub fn outsider(&self, account: &str, writes: &[Write]) {
        self.with(|aws| {
            for write in writes {
                let result = aws.iam(account).write(write);
                aws.note(|| format!("outsider in {account}: {write:?}: {result:?}"));
                if result.is_ok() {
                    aws.history(account, write.target()).touched = Some(Instant::now());
                    aws.remember(account, write.target());
                }
            }
        });
    }

    /// The role of this name now.
    pub fn role(&self, account: &str, name: &str) -> Option<Role> {
        self.with(|aws| aws.iam(account).now().role(name).ok().cloned())
    }
}

fn refusal(code: &str, operation: &str) -> String {
    match code {
        "NoSuchEntity" => "The role with name it cannot be found.".to_owned(),
        _ => format!("the simulation refuses {operation}"),
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub enum Lost {
    /// AWS answered with an error.
    Error(ApiError),
    /// No answer came.
    Connection,
}

impl Aws {
    /// Notes what happened.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let since = self.began.elapsed().as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{since:9.3} {}", what()));
        }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// IAM of an account.
    ///
    /// # Panics
    /// For an account that does not exist.
    pub fn iam(&mut self, account: &str) -> &mut Iam {
        self.accounts.get_mut(account).expect("the account exists")
    }

    /// What happened to a role.
    pub fn history(&mut self, account: &str, role: &str) -> &mut History {
        self.histories
            .entry((account.to_owned(), role.to_lowercase()))
            .or_default()
    }

    /// A new access key.
    pub fn issue(&mut self, session: Option<&str>, account: &str, lasts: Duration) -> String {
        self.keys += 1;
        let key = format!("ASIA{:012}", self.keys);
        let credential = Credential {
            session: session.unwrap_or(&key).to_owned(),
            account: account.to_owned(),
            expires: Instant::now() + lasts,
        };
        self.credentials.insert(key.clone(), credential);
        key
    }

    fn authenticate(&mut self, key: &str) -> Result<String, ApiError> {
        let refused = |code, message: &str| {
            Err(ApiError {
                code,
                message: message.to_owned(),
            })
        };
        let now = Instant::now();
        let credential = match self.credentials.get(key) {
            Some(credential) if self.revoked.contains(&credential.session) => {
                return refused(
                    "InvalidClientTokenId",
                    "The security token included in the request is invalid.",
                );
            }
            Some(credential) if credential.expires <= now => {
                return refused(
                    "ExpiredToken",
                    "The security token included in the request is expired",
                );
            }
            Some(credential) => credential.clone(),
            None => {
                return refused(
                    "InvalidClientTokenId",
                    "The security token included in the request is invalid.",
                );
            }
        };
        let rate = self.weather.rate;
        let taken = self.taken.entry(credential.account.clone()).or_default();
        taken.retain(|at| *at + Duration::from_secs(1) > now);
        if rate > 0 && taken.len() >= rate as usize {
            return refused("Throttling", "Rate exceeded");
        }
        taken.push(now);
        Ok(credential.account)
    }

    /// Remembers whose a role is after a change.
    fn remember(&mut self, account: &str, role: &str) {
        let now = self.iam(account).now().role(role).ok().cloned();
        let history = self.history(account, role);
        let Some(role) = now else {
            return;
        };
        match role
            .tags
            .get(rolectl_crds::OWNER_TAG)
            .filter(|owner| owner.starts_with("c/"))
        {
            Some(owner) => {
                history.owners.insert(role.id, owner.clone());
                history.foreign_since = None;
            }
            None => {
                history.foreign_since.get_or_insert_with(Instant::now);
            }
        }
    }
}
