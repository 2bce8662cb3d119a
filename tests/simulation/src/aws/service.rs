//! AWS as its callers meet it: credentials, throttling, faults, and answers that arrive late or never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::fault::{Fault, FaultProfile, LATEST_EFFECT};
use super::iam::{ApiError, Iam, Limits, State, Write};
use crate::journal::{Checked, Journal};

/// A request.
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
    /// `AssumeRole` or `GetCallerIdentity`: the answer does not depend on a state of IAM.
    Sts,
}

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Number of the call.
    pub number: u64,
    /// The replica that makes it.
    pub replica: usize,
    /// Whose access key it is made with.
    pub credential: &'a Credential,
    /// Name of the operation.
    pub operation: &'static str,
    /// The request.
    pub request: &'a Request,
}

/// Sees every call and every change.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A replica makes a call.
    ///
    /// # Errors
    /// The invariant that the call breaks. The call is not made.
    fn begins(&self, call: &Call<'_>) -> Checked;

    /// AWS has carried out the request of this call.
    ///
    /// # Errors
    /// The invariant that the change breaks.
    fn changed(&self, number: u64, account: &str, write: &Write, states: (&State, &State)) -> Checked;

    /// Somebody outside has changed something.
    fn changed_outside(&self, account: &str, write: &Write, after: &State);
}

/// Nobody observes.
impl Observer for () {
    fn begins(&self, _: &Call<'_>) -> Checked {
        Ok(())
    }

    fn changed(&self, _: u64, _: &str, _: &Write, _: (&State, &State)) -> Checked {
        Ok(())
    }

    fn changed_outside(&self, _: &str, _: &Write, _: &State) {}
}

/// The state that a read sees, or that a change has left. `None` for STS.
pub type Answer = Result<Option<Arc<State>>, ApiError>;

/// No request and no answer takes less than this, unless the fault profile has no latency at all.
const SHORTEST_LATENCY: Duration = Duration::from_millis(5);

/// Whose an access key is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The operator's session that it comes from.
    pub session: String,
    /// The account that it leads to.
    pub account: String,
    /// It belongs to an assumed role, which outlives the session.
    pub is_assumed: bool,
    /// When AWS ends it.
    pub expires: Instant,
}

/// The state of AWS and the faults in effect.
#[derive(Debug)]
pub struct Aws {
    accounts: BTreeMap<String, Iam>,
    /// By access key id.
    credentials: BTreeMap<String, Credential>,
    /// Operators' sessions that AWS does not accept any more. Roles that were assumed on one stay usable, as in AWS.
    pub revoked: BTreeSet<String>,
    /// The faults now.
    pub profile: FaultProfile,
    /// Faults of single calls, by the number of the call.
    pub script: BTreeMap<u64, Fault>,
    /// Replicas that a fault has crashed and that were not replaced yet.
    pub crashed: Vec<usize>,
    /// Number of calls.
    pub calls: u64,
    /// Number of writes that AWS accepted, including those that changed nothing.
    pub writes: u64,
    /// Number of writes that AWS accepted and that changed nothing.
    pub no_op_writes: u64,
    taken: BTreeMap<String, Vec<Instant>>,
    rng: StdRng,
    keys: u64,
}

/// AWS.
#[derive(Debug)]
pub struct Service {
    aws: Mutex<Aws>,
    journal: Arc<Journal>,
    observer: Arc<dyn Observer>,
}

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// AWS answered with an error.
    Error(ApiError),
    /// The connection broke.
    Connection,
}

/// The fate of a call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    fault: Option<Fault>,
    latency: Duration,
    lag: Duration,
    /// How late a request takes effect that is never answered.
    effect: Duration,
}

impl Service {
    /// AWS with these accounts, which have no roles.
    pub fn new(
        seed: u64,
        accounts: &[String],
        limits: Limits,
        journal: Arc<Journal>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let accounts = accounts.iter().map(|id| (id.clone(), Iam::new(id, limits)));
        Arc::new(Self {
            aws: Mutex::new(Aws {
                accounts: accounts.collect(),
                credentials: BTreeMap::new(),
                revoked: BTreeSet::new(),
                profile: FaultProfile::without_faults(),
                script: BTreeMap::new(),
                crashed: vec![],
                calls: 0,
                writes: 0,
                no_op_writes: 0,
                taken: BTreeMap::new(),
                rng: StdRng::seed_from_u64(seed ^ 0x5eed_aaaa),
                keys: 0,
            }),
            journal,
            observer,
        })
    }

    /// Reads or changes what AWS knows.
    pub fn with<T>(&self, act: impl FnOnce(&mut Aws) -> T) -> T {
        act(&mut self.aws.lock())
    }

    /// Makes one call. It returns when an answer arrives, if one does.
    ///
    /// # Errors
    /// When there is no answer, or AWS answers with an error.
    pub async fn call(
        self: &Arc<Self>,
        replica: usize,
        key: &str,
        operation: &'static str,
        request: Request,
    ) -> Result<Option<Arc<State>>, NoAnswer> {
        let (number, fate) = self.begin(replica, key, operation, &request)?;
        if fate.fault == Some(Fault::CrashBefore) {
            return self.crash(replica).await;
        }
        let (sender, receiver) = oneshot::channel();
        let (service, key) = (self.clone(), key.to_owned());
        // A task of its own: the request takes effect even if the replica that sent it crashes meanwhile.
        tokio::spawn(async move {
            let Fate { fault, latency, .. } = fate;
            let is_answered = !matches!(fault, Some(Fault::Hangs | Fault::HangsApplied));
            let arrives = if is_answered { latency } else { fate.effect };
            tokio::time::sleep(arrives).await;
            let answer = service.serve(&key, operation, (number, &request), fate);
            if !is_answered {
                // The connection stays open for longer than anybody waits.
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            tokio::time::sleep(latency).await;
            let is_lost = matches!(fault, Some(Fault::AnswerLost | Fault::RequestLost));
            drop(sender.send((!is_lost).then_some(answer)));
        });
        if fate.fault == Some(Fault::CrashAfter) {
            return self.crash(replica).await;
        }
        match receiver.await {
            Ok(Some(Ok(seen))) => Ok(seen),
            Ok(Some(Err(error))) => Err(NoAnswer::Error(error)),
            _ => Err(NoAnswer::Connection),
        }
    }

    async fn crash<T>(&self, replica: usize) -> T {
        self.with(|aws| aws.crashed.push(replica));
        self.journal.changed.notify_one();
        std::future::pending().await
    }

    fn begin(
        &self,
        replica: usize,
        key: &str,
        operation: &'static str,
        request: &Request,
    ) -> Result<(u64, Fate), NoAnswer> {
        let (credential, number) = self.with(|aws| {
            aws.calls += 1;
            (aws.credentials.get(key).cloned(), aws.calls)
        });
        let credential = credential.ok_or_else(|| NoAnswer::Error(invalid_token()))?;
        let call = Call {
            number,
            replica,
            credential: &credential,
            operation,
            request,
        };
        if let Err(violation) = self.observer.begins(&call) {
            self.journal
                .note(|| format!("#{number} replica {replica} {operation} {request:?}"));
            self.journal.record(violation);
            return Err(NoAnswer::Connection);
        }
        let fate = self.with(|aws| {
            let (profile, scripted) = (aws.profile, aws.script.get(&number).copied());
            let fault = scripted.or_else(|| profile.fault(&mut aws.rng));
            let draw = |rng: &mut StdRng, most: Duration| most.mul_f64(rng.random_range(0.0..1.0));
            Fate {
                fault,
                latency: profile.latency.min(SHORTEST_LATENCY) + draw(&mut aws.rng, profile.latency) / 2,
                lag: draw(&mut aws.rng, profile.lag),
                effect: draw(&mut aws.rng, LATEST_EFFECT),
            }
        });
        let fault = fate.fault;
        self.journal
            .note(|| format!("#{number} replica {replica} {operation} {request:?} fault {fault:?}"));
        Ok((number, fate))
    }

    fn serve(
        &self,
        key: &str,
        operation: &'static str,
        (number, request): (u64, &Request),
        Fate { fault, lag, .. }: Fate,
    ) -> Answer {
        if matches!(fault, Some(Fault::RequestLost | Fault::Hangs)) {
            return Ok(None);
        }
        if let Some(Fault::Refused(code)) = fault {
            return Err(refusal(code, operation, request));
        }
        let answer = self
            .with(|aws| aws.authenticate(key))
            .and_then(|account| self.carry_out(&account, number, request, lag));
        self.journal.note(|| {
            let result = answer.as_ref().map_or_else(|error| error.code, |_| "ok");
            format!("#{number} {operation}: {result}")
        });
        match fault {
            Some(Fault::AppliedThenError(code)) => Err(refusal(code, operation, request)),
            _ => answer,
        }
    }

    fn carry_out(&self, account: &str, number: u64, request: &Request, lag: Duration) -> Answer {
        match request {
            Request::Read(Read::Sts) => Ok(None),
            Request::Read(_) => Ok(Some(self.with(|aws| aws.iam(account).trailing(lag)))),
            Request::Write(write) => {
                let (before, result, after) = self.with(|aws| {
                    let before = aws.iam(account).now();
                    let result = aws.iam(account).write(write);
                    aws.writes += u64::from(result.is_ok());
                    let after = aws.iam(account).now();
                    aws.no_op_writes += u64::from(result.is_ok() && *before == *after);
                    (before, result, after)
                });
                result?;
                let checked = self.observer.changed(number, account, write, (&before, &after));
                self.journal.check(checked);
                Ok(Some(after))
            }
        }
    }

    /// Somebody outside changes something.
    pub fn change_outside(&self, account: &str, writes: &[Write]) {
        for write in writes {
            let (result, after) = self.with(|aws| {
                let result = aws.iam(account).write(write);
                (result, aws.iam(account).now())
            });
            self.journal
                .note(|| format!("outside, in {account}: {write:?}: {result:?}"));
            if result.is_ok() {
                self.observer.changed_outside(account, write, &after);
            }
        }
    }

    /// The state of an account now.
    pub fn state(&self, account: &str) -> Arc<State> {
        self.with(|aws| aws.iam(account).now())
    }
}

/// The error that AWS answers for no reason of the model.
fn refusal(code: &'static str, operation: &str, request: &Request) -> ApiError {
    let message = match (code, request) {
        ("NoSuchEntity", Request::Write(write)) if write.is_about_profile() => {
            "Instance Profile it cannot be found.".to_owned()
        }
        ("NoSuchEntity", Request::Read(Read::Profile(name))) => {
            format!("Instance Profile {name} cannot be found.")
        }
        ("NoSuchEntity", _) => "The role with name it cannot be found.".to_owned(),
        _ => format!("the simulation refuses {operation}"),
    };
    ApiError { code, message }
}

fn invalid_token() -> ApiError {
    ApiError {
        code: "InvalidClientTokenId",
        message: "The security token included in the request is invalid.".to_owned(),
    }
}

impl Aws {
    /// IAM of an account.
    ///
    /// # Panics
    /// For an account that does not exist.
    pub fn iam(&mut self, account: &str) -> &mut Iam {
        self.accounts.get_mut(account).expect("the account exists")
    }

    /// Creates every principal that IAM does not find, in every account.
    pub fn make_principals(&mut self) {
        self.accounts
            .values_mut()
            .for_each(|iam| iam.unknown_principals.clear());
    }

    /// IAM does not know this principal in any account.
    pub fn forget_principal(&mut self, arn: &str) {
        for iam in self.accounts.values_mut() {
            iam.unknown_principals.insert(arn.to_owned());
        }
    }

    /// A new operator's session, by its access key id.
    pub fn issue(&mut self, account: &str, lasts: Duration) -> String {
        let key = self.next_key();
        self.add_credential(key.clone(), key.clone(), (account, false), lasts);
        key
    }

    /// Assumes a role in an account on this access key. Returns the access key id of the role's session.
    pub fn assume(&mut self, key: &str, account: &str, lasts: Duration) -> String {
        let session = self.credentials.get(key).map(|by| by.session.clone());
        let assumed = self.next_key();
        self.add_credential(
            assumed.clone(),
            session.unwrap_or_default(),
            (account, true),
            lasts,
        );
        assumed
    }

    fn next_key(&mut self) -> String {
        self.keys += 1;
        format!("ASIA{:012}", self.keys)
    }

    fn add_credential(
        &mut self,
        key: String,
        session: String,
        (account, is_assumed): (&str, bool),
        lasts: Duration,
    ) {
        let credential = Credential {
            session,
            account: account.to_owned(),
            is_assumed,
            expires: Instant::now() + lasts,
        };
        self.credentials.insert(key, credential);
    }

    fn authenticate(&mut self, key: &str) -> Result<String, ApiError> {
        let now = Instant::now();
        let credential = self.credentials.get(key).ok_or_else(invalid_token)?.clone();
        if !credential.is_assumed && self.revoked.contains(&credential.session) {
            return Err(invalid_token());
        }
        if credential.expires <= now {
            return Err(ApiError {
                code: "ExpiredToken",
                message: "The security token included in the request is expired".to_owned(),
            });
        }
        let rate = self.profile.rate;
        let taken = self.taken.entry(credential.account.clone()).or_default();
        taken.retain(|at| *at + Duration::from_secs(1) > now);
        if rate > 0 && taken.len() >= rate as usize {
            return Err(ApiError {
                code: "Throttling",
                message: "Rate exceeded".to_owned(),
            });
        }
        taken.push(now);
        Ok(credential.account)
    }
}
