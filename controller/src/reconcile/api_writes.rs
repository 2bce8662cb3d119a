//! Writes to the API server: statuses and finalizers.

use std::hash::BuildHasher as _;
use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{PartialObjectMeta, Patch, PatchParams, Request};
use kube::{Api, Client, Resource, ResourceExt as _};
use rolectl_crds::{FINALIZER, IamRole};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use rolectl_core::names::RoleKey;

use super::context::{Context, MANAGER};
use super::waiting::static_kind;
use super::{Error, bounded_call};

/// Asks for nothing but an object's [metadata](https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches).
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// The last status that this process has written for an object.
#[derive(Clone, Copy, Debug)]
pub struct WrittenStatus {
    /// A hash of the status.
    hash: u64,
    /// The resource version that the object had then. `None` if it is no number.
    version: Option<u64>,
    /// When it was written.
    at: Instant,
}

/// How long a status that was written is waited for in the cache, before the next one is written. A watch that is stuck must not keep
/// statuses from being written.
const CACHE_PATIENCE: Duration = Duration::from_secs(5);

impl WrittenStatus {
    /// Returns true if the object of this resource version is one from before the status was written, and the cache may be expected to
    /// show the newer one soon. Resource versions of an object
    /// [are numbers that rise](https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions), unless etcd is restored.
    fn is_awaited_by(self, version: Option<&str>) -> bool {
        let there = version_number(version);
        let is_newer = self
            .version
            .zip(there)
            .is_some_and(|(written, there)| there < written);
        is_newer && self.at.elapsed() < CACHE_PATIENCE
    }
}

fn version_number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

impl Context {
    /// Writes a status of `object` by server-side apply, unless the API server has it already. Returns true if it was written. `part` is
    /// empty, or the name of a part of the status that has a field manager of its own.
    pub async fn patch_status<K, S>(
        &self,
        api: &Api<K>,
        object: &K,
        before: Option<&S>,
        status: &S,
        part: &str,
    ) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
        S: Serialize + Sync,
    {
        let id = self.written_id(object.uid().as_deref().unwrap_or_default(), part);
        let body = serde_json::to_string(status).unwrap_or_default();
        let hash = self.hasher.hash_one(&body);
        // The cache may trail our own last write, so it alone does not prove that nothing changed.
        let written = self.written.lock().get(&id).copied();
        let is_trailing = written.is_some_and(|written| written.hash != hash);
        let version = object.meta().resource_version.as_deref();
        let is_awaited = written.is_some_and(|written| written.is_awaited_by(version));
        // Compared as written: the API keeps times to the second.
        let is_unchanged = || before.and_then(|b| serde_json::to_string(b).ok()) == Some(body);
        if !is_trailing && (is_awaited || is_unchanged()) {
            return Ok(false);
        }
        // With the uid: another object of the same name is not meant.
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": object.name_any(), "uid": object.uid()},
            "status": status,
        });
        let manager = if part.is_empty() {
            MANAGER.to_owned()
        } else {
            format!("{MANAGER}-{part}")
        };
        let (url, name) = (api.resource_url(), object.name_any());
        let version = match apply_status(&self.client, url, &name, &manager, &patch).await {
            Ok(version) => version,
            // Deleted meanwhile: there is nothing to report any more.
            Err(kube::Error::Api(e)) if e.code == 404 => return Ok(false),
            // Many writers at the same moment, or another object of this name: the next try uses the object as it is then.
            Err(kube::Error::Api(e)) if e.code == 409 => return Err(Error::Contended),
            Err(error) => return Err(Error::kube("could not write the status")(error)),
        };
        let written = WrittenStatus {
            hash,
            version,
            at: Instant::now(),
        };
        self.written.lock().insert(id, written);
        self.metrics.wrote_status(static_kind(&K::kind(&())));
        Ok(true)
    }

    /// Returns true if the cache does not show the status yet that this process has written for the role. What is computed from the
    /// object then has other times in it, and would be written for nothing.
    pub fn awaits_own_status(&self, role: &IamRole) -> bool {
        let id = self.written_id(role.metadata.uid.as_deref().unwrap_or_default(), "");
        let written = self.written.lock().get(&id).copied();
        let version = role.metadata.resource_version.as_deref();
        written.is_some_and(|it| it.is_awaited_by(version))
    }

    fn written_id(&self, uid: &str, part: &str) -> u64 {
        self.hasher.hash_one((uid, part))
    }

    /// The object with this uid is deleted: nothing is remembered of the statuses that were written for it.
    pub fn forget_written(&self, uid: &str) {
        let parts = (0..self.shards.count()).map(|number| self.shards.part_name(number));
        let mut written = self.written.lock();
        for part in parts.chain([String::new()]) {
            written.remove(&self.written_id(uid, &part));
        }
    }

    /// Adds or removes our finalizer.
    ///
    /// # Errors
    /// When the API server does not answer, or the object is not the one that was read.
    pub async fn set_finalizer<K>(&self, api: &Api<K>, object: &K, wanted: bool) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        match write_finalizer(api, object, wanted).await {
            Err(kube::Error::Api(e)) if e.code == 404 && !wanted => return Ok(()),
            Err(kube::Error::Api(e)) if e.code == 409 => {}
            done => return done.map_err(Error::kube("could not write the finalizer")),
        }
        // What the others have written since may be a reason not to.
        if !wanted && self.is_divided() {
            return Err(Error::Contended);
        }
        // Our cache trails: take the finalizers as they are now.
        let now = bounded_call(api.get_opt(&object.name_any())).await;
        let Some(now) = now.map_err(Error::kube("could not read the object"))? else {
            // Another replica may have removed it.
            return if wanted {
                Err(Error::Incomplete("itself"))
            } else {
                Ok(())
            };
        };
        if now.uid() != object.uid() {
            return Err(Error::Incomplete("the same uid"));
        }
        let written = write_finalizer(api, &now, wanted).await;
        written.map_err(Error::kube("could not write the finalizer"))
    }

    /// Sets the finalizer of a role that is to be written, unless it is set.
    ///
    /// # Errors
    /// When the API server does not answer, or the object is deleted.
    pub async fn protect_role(&self, role: &IamRole) -> Result<(), Error> {
        let (key, uid) = (RoleKey::of(role), role.metadata.uid.as_deref());
        let is_set =
            || role.finalizers().iter().any(|f| f == FINALIZER) || self.reports.has_finalizer(&key, uid);
        if is_set() {
            return Ok(());
        }
        // Many accounts begin at the same time, and one of them sets it for all.
        let turn = self.finalizer_turns.of(self.hasher.hash_one(&key));
        let _turn = turn.lock().await;
        if is_set() {
            return Ok(());
        }
        let api: Api<IamRole> = self.api_of(role);
        self.set_finalizer(&api, role, true).await?;
        self.reports.set_finalizer(&key, uid);
        Ok(())
    }
}

/// Adds or removes our finalizer, unless that is done already. With the resource version: another's finalizer that we have not seen is
/// never lost.
async fn write_finalizer<K>(api: &Api<K>, object: &K, wanted: bool) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let others = object.finalizers().iter().map(String::as_str);
    let mut finalizers: Vec<&str> = others.filter(|f| *f != FINALIZER).collect();
    if (finalizers.len() < object.finalizers().len()) == wanted {
        return Ok(());
    }
    if wanted {
        finalizers.push(FINALIZER);
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let (name, params, patch) = (object.name_any(), PatchParams::default(), Patch::Merge(&patch));
    bounded_call(api.patch_metadata(&name, &params, &patch))
        .await
        .map(drop)
}

/// Turns of writers, by a hash of the object. Objects that share a turn wait for each other now and then.
pub struct Turns(Vec<tokio::sync::Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..256).map(|_| tokio::sync::Mutex::default()).collect())
    }
}

impl Turns {
    fn of(&self, hash: u64) -> &tokio::sync::Mutex<()> {
        static NONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let count = u64::try_from(self.0.len()).unwrap_or(1).max(1);
        let index = usize::try_from(hash % count).unwrap_or_default();
        self.0.get(index).unwrap_or(&NONE)
    }
}

/// Applies a status by server-side apply, and forces: nobody else owns these fields. Returns the object's new resource version. Of the answer only the metadata is asked for: the
/// rest is what was just sent, and may be large.
pub async fn apply_status(
    client: &Client,
    resource_url: &str,
    name: &str,
    manager: &str,
    patch: &serde_json::Value,
) -> kube::Result<Option<u64>> {
    let params = PatchParams::apply(manager).force();
    let request = Request::new(resource_url).patch_subresource("status", name, &params, &Patch::Apply(patch));
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
    // As text: `managedFields` can be nested more deeply than a parser follows.
    let answer = bounded_call(client.request_text(request)).await?;
    let written: Option<PartialObjectMeta> = serde_json::from_str(&answer).ok();
    Ok(written.and_then(|written| version_number(written.metadata.resource_version.as_deref())))
}
