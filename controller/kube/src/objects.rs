//! Reads objects of the API server as text and parses each one alone.
//!
//! `serde_json` refuses more than 128 levels of nesting, and the API server accepts 10,000. A list or a line of a watch
//! that is parsed as a whole fails because of one such object and hides all others from its reader. Here the text of
//! each object is cut out without recursion, so that an object that does not parse harms only itself.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::api::{ListParams, Request};
use kube::{Api, Client, Resource};
use rolectl_crds::AccountSelection;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

/// Objects in one page of a list, as client-go has it.
const PAGE: u32 = 500;
/// Most bytes of one object. The API server accepts 3 MiB by default, and etcd 1.5 MiB.
const OBJECT: usize = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// Most bytes of a list outside its items.
const LIST_HEAD: usize = 1 << 20;
/// Deepest nesting of an object. Its `managedFields` are nested a few levels deeper than its spec, and other calls of the
/// API parse them with `serde_json`'s limit. No policy document that IAM accepts has more than 10 levels.
const LEVELS: usize = 64;
/// Most characters of a parser's message.
const PROBLEM: usize = 300;

/// An object, or what could be found out about one that does not parse.
pub type Read<K> = Result<K, Box<Unreadable>>;

/// An object that does not parse.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unreadable {
    /// Its metadata without `managedFields`. Empty where not even this part parses.
    pub metadata: ObjectMeta,
    /// Why it does not parse, at most [`PROBLEM`] characters.
    pub problem: String,
    /// The `spec.accounts` of an `IamRole`, where this part parses.
    pub accounts: Option<AccountSelection>,
    /// Its status, where this part parses.
    pub status: Option<Value>,
}

impl Unreadable {
    fn new(text: &[u8], problem: &str) -> Self {
        let all = members(text).unwrap_or_default();
        let spec = member(&all, "spec").and_then(members).unwrap_or_default();
        Self {
            metadata: member(&all, "metadata")
                .map(without_managed_fields)
                .and_then(|metadata| serde_json::from_slice(&metadata).ok())
                .unwrap_or_default(),
            problem: problem.chars().take(PROBLEM).collect(),
            accounts: member(&spec, "accounts").and_then(|text| serde_json::from_slice(text).ok()),
            status: member(&all, "status").and_then(|text| serde_json::from_slice(text).ok()),
        }
    }

    /// `namespace/name`, or the name alone.
    pub fn full_name(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or("without a readable name");
        match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}

/// Parses the text of one object. Its `managedFields` are left out: nothing needs them, and they are nested as deeply as
/// the object is.
pub fn read<K: DeserializeOwned>(text: &[u8]) -> Read<K> {
    let trimmed = members(text).map(|all| {
        let parts = all.into_iter().map(|(key, value)| {
            let value = if key == br#""metadata""# {
                without_managed_fields(value)
            } else {
                value.to_vec()
            };
            (key, value)
        });
        object(parts)
    });
    let trimmed = trimmed.as_deref().unwrap_or(text);
    if levels(trimmed) > LEVELS {
        let problem = format!("it is nested more than {LEVELS} levels deep");
        return Err(Box::new(Unreadable::new(text, &problem)));
    }
    serde_json::from_slice(trimmed).map_err(|error| {
        let problem = error.to_string();
        // Without the position in a text that nobody else sees.
        let problem = problem
            .rsplit_once(" at line ")
            .map_or(problem.as_str(), |(text, _)| text);
        Box::new(Unreadable::new(text, problem))
    })
}

/// How deeply a JSON text is nested.
fn levels(text: &[u8]) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn without_managed_fields(metadata: &[u8]) -> Vec<u8> {
    let Some(all) = members(metadata) else {
        return metadata.to_vec();
    };
    let kept = all.into_iter().filter(|(key, _)| *key != br#""managedFields""#);
    object(kept.map(|(key, value)| (key, value.to_vec())))
}

fn object<'a>(members: impl Iterator<Item = (&'a [u8], Vec<u8>)>) -> Vec<u8> {
    let mut text = vec![b'{'];
    for (key, value) in members {
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend(key);
        text.push(b':');
        text.extend(value);
    }
    text.push(b'}');
    text
}

/// Keys and values of a JSON object, as their texts. `None` where the text is not a JSON object.
fn members(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rest = text.trim_ascii().strip_prefix(b"{")?.trim_ascii_start();
    let mut all = vec![];
    if let Some(after) = rest.strip_prefix(b"}") {
        return after.is_empty().then_some(all);
    }
    loop {
        let (key, after) = value(rest)?;
        let (value, after) = value(after.trim_ascii_start().strip_prefix(b":")?)?;
        all.push((key, value));
        let (next, after) = after.trim_ascii_start().split_first()?;
        match next {
            b',' => rest = after,
            b'}' if after.is_empty() => return Some(all),
            _ => return None,
        }
    }
}

/// The JSON value at the beginning of the text, and what follows it. Skipping a value takes no stack, however deep it is.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, after) = text.split_at_checked(values.byte_offset())?;
    Some((value.trim_ascii(), after))
}

fn member<'a>(all: &[(&[u8], &'a [u8])], name: &str) -> Option<&'a [u8]> {
    let quoted = format!("\"{name}\"");
    let found = all.iter().find(|(key, _)| *key == quoted.as_bytes());
    found.map(|(_, value)| *value)
}

/// Cuts the text of a list into the texts of its items while it arrives.
#[derive(Debug, Default)]
struct Splitter {
    /// All but the items.
    rest: Vec<u8>,
    /// The item that is arriving.
    item: Vec<u8>,
    /// Items that have arrived. `None`: one that is too large.
    items: VecDeque<Option<Vec<u8>>>,
    /// Open objects and lists.
    depth: usize,
    in_items: bool,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        chunk.iter().try_for_each(|byte| self.take(*byte))
    }

    fn take(&mut self, byte: u8) -> io::Result<()> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return self.keep(byte);
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' if self.depth == 1 && self.at_items() => {
                self.keep(byte)?;
                (self.depth, self.in_items) = (2, true);
                return Ok(());
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.in_items && self.depth == 2 => (self.depth, self.in_items) = (1, false),
            b'}' | b']' if self.in_items && self.depth == 3 => {
                self.keep(byte)?;
                self.depth = 2;
                let item = std::mem::take(&mut self.item);
                self.items.push_back((item.len() < OBJECT).then_some(item));
                return Ok(());
            }
            b'}' | b']' => {
                self.keep(byte)?;
                self.depth = self
                    .depth
                    .checked_sub(1)
                    .ok_or_else(|| no_list("brackets do not match"))?;
                return Ok(());
            }
            _ => {}
        }
        self.keep(byte)
    }

    fn keep(&mut self, byte: u8) -> io::Result<()> {
        if !self.in_items {
            if self.rest.len() >= LIST_HEAD {
                return Err(no_list("it has too much beside its items"));
            }
            self.rest.push(byte);
        } else if self.depth > 2 && self.item.len() < OBJECT {
            self.item.push(byte);
        }
        Ok(())
    }

    /// Whether the value that begins here belongs to the key `items`.
    fn at_items(&self) -> bool {
        let key = self.rest.trim_ascii_end().strip_suffix(b":");
        key.is_some_and(|text| text.trim_ascii_end().ends_with(br#""items""#))
    }

    /// The list's own metadata, once all of it has arrived.
    fn metadata(&self) -> io::Result<ListMeta> {
        #[derive(Deserialize)]
        struct Head {
            metadata: ListMeta,
        }
        if self.depth > 0 || self.rest.is_empty() {
            return Err(no_list("it ends early"));
        }
        let head: Head = serde_json::from_slice(&self.rest).map_err(|error| no_list(&error.to_string()))?;
        Ok(head.metadata)
    }
}

fn no_list(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the API server's list does not parse: {why}"),
    )
}

/// The body of an answer. Each piece of it arrives within the given time, or reading fails.
type Body = Pin<Box<dyn AsyncBufRead + Send>>;

async fn in_time<T, E: Into<kube::Error>>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> kube::Result<T> {
    if let Ok(answer) = tokio::time::timeout(patience, answer).await {
        return answer.map_err(Into::into);
    }
    let why = format!("the API server does not answer within {} s", patience.as_secs());
    let error = io::Error::new(io::ErrorKind::TimedOut, why);
    Err(kube::Error::ReadEvents(error))
}

/// All objects behind an [`Api`], page by page. Only the one that is being read is in memory.
pub struct Listing<K> {
    client: Client,
    request: Request,
    /// How long the API server may take for each piece of its answer.
    patience: Duration,
    /// The page that is arriving.
    page: Option<(Body, Splitter)>,
    next_page: Option<String>,
    version: Option<String>,
    /// A label selector in the form of kubectl.
    labels: Option<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned> Listing<K> {
    /// A list that begins with the first call of [`Self::next`].
    pub fn new(api: &Api<K>, patience: Duration) -> Self {
        Self {
            client: api.clone().into_client(),
            request: Request::new(api.resource_url()),
            patience,
            page: None,
            next_page: None,
            version: None,
            labels: None,
            kind: PhantomData,
        }
    }

    /// Restricts the list to objects with these labels, such as `team=data,env!=dev`.
    #[must_use]
    pub fn with_labels(mut self, labels: Option<&str>) -> Self {
        self.labels = labels.map(str::to_owned);
        self
    }

    /// The next object; `None` after the last one.
    ///
    /// # Errors
    /// When the API server refuses, is silent, or answers with something that is no list.
    pub async fn next(&mut self) -> kube::Result<Option<Read<K>>> {
        loop {
            let Some((body, splitter)) = &mut self.page else {
                if self.version.is_some() && self.next_page.is_none() {
                    return Ok(None);
                }
                let params = ListParams {
                    limit: Some(PAGE),
                    continue_token: self.next_page.clone(),
                    label_selector: self.labels.clone(),
                    ..ListParams::default()
                };
                let request = self.request.list(&params).map_err(kube::Error::BuildRequest)?;
                let body = in_time(self.patience, self.client.request_stream(request)).await?;
                self.page = Some((Box::pin(body), Splitter::default()));
                continue;
            };
            if let Some(item) = splitter.items.pop_front() {
                return Ok(Some(match item {
                    Some(text) => read(&text),
                    None => Err(Box::new(Unreadable::new(b"", "it is larger than 16 MiB"))),
                }));
            }
            let chunk = in_time(self.patience, async {
                body.fill_buf().await.map_err(kube::Error::ReadEvents)
            });
            let chunk = chunk.await?;
            if !chunk.is_empty() {
                splitter.push(chunk).map_err(kube::Error::ReadEvents)?;
                let read = chunk.len();
                body.as_mut().consume(read);
                continue;
            }
            let metadata = splitter.metadata().map_err(kube::Error::ReadEvents)?;
            self.next_page = metadata.continue_.filter(|token| !token.is_empty());
            self.version = Some(metadata.resource_version.unwrap_or_default());
            self.page = None;
        }
    }

    /// The version of the list, once all of it is read.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref().filter(|version| !version.is_empty())
    }
}

/// The lines of a watch.
pub struct Lines {
    body: Body,
    line: Vec<u8>,
}

impl Lines {
    /// Begins to read the answer to a request.
    ///
    /// # Errors
    /// When the API server refuses or does not answer in time.
    pub async fn new(
        client: &Client,
        request: http::Request<Vec<u8>>,
        patience: Duration,
    ) -> kube::Result<Self> {
        let body = in_time(patience, client.request_stream(request)).await?;
        Ok(Self {
            body: Box::pin(body),
            line: vec![],
        })
    }

    /// The next line; `None` at the end. Nothing is lost when this future is dropped.
    ///
    /// # Errors
    /// When the connection fails, or a line is longer than an object can be.
    pub async fn next(&mut self) -> kube::Result<Option<Vec<u8>>> {
        loop {
            let chunk = self.body.fill_buf().await.map_err(kube::Error::ReadEvents)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let (piece, _) = chunk.split_at(end.unwrap_or(chunk.len()));
            if self.line.len() + piece.len() > OBJECT {
                let why = "the API server's watch has a line of more than 16 MiB";
                return Err(kube::Error::ReadEvents(io::Error::new(
                    io::ErrorKind::InvalidData,
                    why,
                )));
            }
            self.line.extend(piece);
            let read = piece.len() + usize::from(end.is_some());
            self.body.as_mut().consume(read);
            if end.is_some() && !self.line.trim_ascii().is_empty() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

/// The type of a watch event and the text of its object.
pub fn event(line: &[u8]) -> Option<(String, &[u8])> {
    let all = members(line)?;
    let kind = serde_json::from_slice(member(&all, "type")?).ok()?;
    Some((kind, member(&all, "object")?))
}

/// The version of an object, also of one that does not parse.
pub fn version(text: &[u8]) -> Option<String> {
    let all = members(text)?;
    let metadata = members(member(&all, "metadata")?)?;
    let version: String = serde_json::from_slice(member(&metadata, "resourceVersion")?).ok()?;
    (!version.is_empty()).then_some(version)
}

/// The text of an `IamRole` whose trust policy, like its `managedFields`, is nested this deeply. Tests of several crates
/// start from it.
#[doc(hidden)]
pub fn nested(name: &str, levels: usize) -> String {
    let (open, close) = (r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let fields = open.replace(r#""a""#, r#""f:a""#);
    format!(
        r#"{{"apiVersion":"iam.rolectl.dev/v1alpha1","kind":"IamRole","metadata":{{"generation":3,"managedFields":[{{"fieldsV1":{fields}{{}}{close}}}],"name":"{name}","namespace":"team","resourceVersion":"9","uid":"u"}},"spec":{{"accounts":{{"names":["dev"]}},"assumeRolePolicy":{{"Statement":{open}1{close}}}}},"status":{{"summary":"1/1"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rolectl_crds::{IamRole, MfaSession};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_is_nested_too_deeply_is_named_with_all_that_can_be_read() {
        for levels in [200, 9_999] {
            let bad = read::<IamRole>(nested("deep", levels).as_bytes()).unwrap_err();
            assert_eq!(bad.full_name(), "team/deep");
            assert_eq!(bad.problem, "it is nested more than 64 levels deep");
            assert_eq!(
                (bad.metadata.generation, bad.metadata.managed_fields),
                (Some(3), None)
            );
            assert_eq!(bad.accounts.unwrap().names, ["dev"]);
            assert_eq!(bad.status, Some(json!({"summary": "1/1"})));
        }
        let wrong = json!({"metadata": {"name": "wrong"}, "spec": {"accountId": ["x"]}}).to_string();
        let bad = read::<MfaSession>(wrong.as_bytes()).unwrap_err();
        assert_eq!(
            (bad.full_name().as_str(), bad.problem.contains(" at line ")),
            ("wrong", false)
        );
        for no_object in ["", "[]", "{", "{\"metadata\":", "null"] {
            let bad = read::<MfaSession>(no_object.as_bytes()).unwrap_err();
            assert_eq!(bad.full_name(), "without a readable name");
        }
    }

    #[test]
    fn managed_fields_never_make_an_object_unreadable() {
        let mut text = nested("deep", 150);
        let (from, to) = (
            text.find(r#""Statement":"#).unwrap(),
            text.find(r#"}},"status""#).unwrap(),
        );
        text.replace_range(from..to, r#""Statement":[]"#);
        let role = read::<IamRole>(text.as_bytes()).unwrap();
        assert_eq!(role.metadata.managed_fields, None);
        assert_eq!(role.metadata.name.as_deref(), Some("deep"));
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            r#"[a-z"\\{}\[\],:\n é]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((r#"[a-z"\\{}]{0,6}"#, inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn objects() -> impl Strategy<Value = Vec<Value>> {
        let object = prop::collection::vec((r#"[a-z"\\]{0,6}"#, document()), 0..4);
        prop::collection::vec(
            object.prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            0..5,
        )
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_object_or_one_and_cause_no_panic(text in r#"(\{|\}|\[|\]|"|\\|,|:| |"metadata"|"items"|"type"|"object"|"managedFields"|"spec"|1|null|\PC){0,40}"#, cut in 0_usize..80, size in 1_usize..9) {
            let bytes = text.as_bytes();
            let cut = bytes.get(..cut.min(bytes.len())).unwrap_or_default();
            for text in [bytes, cut] {
                let _ = (read::<IamRole>(text).is_ok(), event(text), version(text), levels(text));
                let mut splitter = Splitter::default();
                let pushed = text.chunks(size).try_for_each(|chunk| splitter.push(chunk));
                let _ = (pushed.is_ok(), splitter.metadata().is_ok());
            }
        }

        #[test]
        fn a_list_is_cut_into_its_items_wherever_its_text_is_broken(items in objects(), other in document(), size in 1_usize..40, pretty: bool) {
            let list = json!({"apiVersion": "v1", "a": other, "items": items, "z": [{"items": [1]}], "metadata": {"resourceVersion": "7", "continue": "c"}});
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let mut splitter = Splitter::default();
            for chunk in text.as_bytes().chunks(size) {
                splitter.push(chunk).unwrap();
            }
            let found: Vec<Value> = splitter.items.iter().map(|item| serde_json::from_slice(item.as_ref().unwrap()).unwrap()).collect();
            prop_assert_eq!(&found, &items);
            let metadata = splitter.metadata().unwrap();
            prop_assert_eq!((metadata.resource_version.as_deref(), metadata.continue_.as_deref()), (Some("7"), Some("c")));
        }

        #[test]
        fn members_of_an_object_are_those_that_serde_finds(value in document()) {
            let text = value.to_string();
            let found = members(text.as_bytes()).map(|all| {
                let pair = |(key, value): (&[u8], &[u8])| (serde_json::from_slice::<String>(key).unwrap(), serde_json::from_slice::<Value>(value).unwrap());
                all.into_iter().map(pair).collect::<serde_json::Map<_, _>>()
            });
            prop_assert_eq!(found.map(Value::Object), value.is_object().then_some(value));
        }

        #[test]
        fn the_depth_of_a_text_is_that_of_its_value(value in document()) {
            fn depth(value: &Value) -> usize {
                match value {
                    Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or_default(),
                    Value::Object(all) => 1 + all.values().map(depth).max().unwrap_or_default(),
                    _ => 0,
                }
            }
            prop_assert_eq!(levels(value.to_string().as_bytes()), depth(&value));
        }
    }

    #[test]
    fn a_list_that_ends_early_or_has_no_end_is_an_error() {
        for text in ["", "{", r#"{"items":[{}"#, r#"{"items":[]}"#, "}"] {
            let mut splitter = Splitter::default();
            let pushed = splitter.push(text.as_bytes());
            assert!(pushed.is_err() || splitter.metadata().is_err(), "{text}");
        }
        let mut splitter = Splitter::default();
        assert!(splitter.push(&vec![b' '; LIST_HEAD + 1]).is_err());
    }

    #[test]
    fn an_item_that_is_too_large_is_left_out_alone() {
        let mut splitter = Splitter::default();
        let large = "x".repeat(OBJECT);
        let text = format!(r#"{{"items":[{{"a":"{large}"}},{{"b":1}}],"metadata":{{}}}}"#);
        splitter.push(text.as_bytes()).unwrap();
        assert_eq!(splitter.items, [None, Some(br#"{"b":1}"#.to_vec())]);
    }
}
