//! Implements `rolectl events`.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{Flags, failed};
use crate::failure::Failure;
use crate::named::{Named, ObjectArgs};
use crate::output::{Document, Format, List, machine, printable, table};
use crate::stdio::{eprintln, is_closed, println};
use crate::times::age;

/// Time between two reads with --watch.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of events in one answer of the API server.
const PAGE: u32 = 50;
/// Maximum number of events that are shown. Kubernetes deletes them after an hour.
const MAX_EVENTS: usize = 1000;
/// The namespace of the events about objects without a namespace.
const DEFAULT_NAMESPACE: &str = "default";
const HEADER: [&str; 5] = ["AGE", "TYPE", "REASON", "COUNT", "MESSAGE"];

/// Show the Kubernetes events about an object, oldest first
///
/// The controller writes one for each change in AWS, each refusal and each change of a session. Others who may write events can write
/// some about the object, too: the log of the controller and CloudTrail are the record. Kubernetes keeps events for an hour unless the
/// API server is configured otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl events role/app -n platform
  rolectl events account/prod --watch
  rolectl events session/default -o json

Exit codes: 0 shown, also if there are no events, 1 failed, 2 wrong usage.")]
pub struct Events {
    #[command(flatten)]
    object: ObjectArgs,
    /// Look again every 2 seconds and print new events, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// An event, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Event")]
pub struct Line {
    /// The last time.
    #[schemars(with = "Option<String>")]
    time: Option<Timestamp>,
    r#type: String,
    reason: String,
    count: i32,
    message: String,
    /// What was done.
    action: Option<String>,
    /// The program that wrote the event.
    source: Option<String>,
}

impl Document for Line {
    const KIND: &'static str = "Event";
}

impl Document for List<Line> {
    const KIND: &'static str = "EventList";
}

impl Line {
    fn of(event: &Event) -> Self {
        let series = event.series.as_ref();
        let last = series.and_then(|series| series.last_observed_time.as_ref());
        let last = last.or(event.event_time.as_ref()).map(|time| time.0);
        let old = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref());
        let created = event.metadata.creation_timestamp.as_ref();
        let source = event.reporting_component.clone().filter(|name| !name.is_empty());
        let of_source = event.source.as_ref().and_then(|source| source.component.clone());
        Self {
            time: last.max(old.map(|time| time.0)).or(created.map(|time| time.0)),
            r#type: event.type_.clone().unwrap_or_default(),
            reason: event.reason.clone().unwrap_or_default(),
            count: series
                .and_then(|series| series.count)
                .or(event.count)
                .unwrap_or(1)
                .max(1),
            message: event.message.clone().unwrap_or_default(),
            action: event.action.clone(),
            source: source.or(of_source),
        }
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let age = self.time.map_or_else(|| "?".to_owned(), |time| age(time, now));
        let message = printable(self.message.trim());
        let source = self
            .source
            .as_deref()
            .map_or_else(String::new, |source| format!(" ({})", printable(source)));
        vec![
            age,
            printable(&self.r#type).into_owned(),
            printable(&self.reason).into_owned(),
            self.count.to_string(),
            format!("{message}{source}"),
        ]
    }
}

/// The events about one object.
struct Source {
    api: Api<Event>,
    selector: String,
    /// The object, for messages.
    shown: String,
}

impl Source {
    fn new(client: &Client, object: &Named) -> Self {
        let (kind, name) = (object.kind(), object.name());
        let (namespace, full) = match object {
            Named::Role(_) => {
                let namespace = client.default_namespace();
                (namespace, format!("{namespace}/{name}"))
            }
            Named::Account(_) | Named::Session(_) => (DEFAULT_NAMESPACE, name.to_owned()),
        };
        Self {
            api: Api::namespaced(client.clone(), namespace),
            selector: format!(
                "involvedObject.apiVersion={}/v1alpha1,involvedObject.kind={kind},involvedObject.name={name}",
                rolectl_crds::GROUP
            ),
            shown: format!("{kind} {full}"),
        }
    }

    /// Returns the events, oldest first, with a key that changes if an event repeats.
    async fn read(&self) -> Result<Vec<(String, String, Line)>, Failure> {
        let mut params = ListParams::default().fields(&self.selector).limit(PAGE);
        let mut all = vec![];
        loop {
            let page = self
                .api
                .list(&params)
                .await
                .map_err(|error| self.failure(&error))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) if all.len() < MAX_EVENTS => params = params.continue_token(&token),
                Some(_) => {
                    eprintln!("warning: only {} events are shown", all.len());
                    break;
                }
                None => break,
            }
        }
        let line = |event: Event| {
            let version = event.resource_version().unwrap_or_default();
            (event.name_any(), version, Line::of(&event))
        };
        let mut lines: Vec<_> = all.into_iter().map(line).collect();
        lines.sort_by_key(|(_, _, line)| line.time);
        Ok(lines)
    }

    fn failure(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.code == 403 => Failure::new(
                format!("the cluster does not let you list events: {}", status.message),
                "ask for a Role with `list` on events in that namespace, as Kubernetes' own ClusterRole view has it",
            ),
            other => failed(&format!("list the events about {}", self.shown), other),
        }
    }
}

impl Events {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let object = self.object.named()?;
        if !matches!(object, Named::Role(_)) {
            flags.refuse_namespace()?;
        }
        let source = Source::new(&flags.client().await?, &object);
        let lines = source.read().await?;
        if self.watch {
            return self.watch(&source, lines).await;
        }
        let now = Timestamp::now();
        let lines: Vec<Line> = lines.into_iter().map(|(_, _, line)| line).collect();
        if self.output != Format::Table {
            return machine(self.output, &List { items: lines });
        }
        if lines.is_empty() {
            println!("{}", none(&source.shown));
        } else {
            let rows = lines.iter().map(|line| line.row(now)).collect();
            println!("{}", table(&HEADER, rows));
        }
        Ok(())
    }

    /// Shows the events, and each that is new or repeats.
    async fn watch(&self, source: &Source, mut lines: Vec<(String, String, Line)>) -> Result<(), Failure> {
        let mut seen: HashMap<String, String> = HashMap::new();
        let mut failed = String::new();
        if lines.is_empty() {
            eprintln!("{}", none(&source.shown));
        }
        if self.output == Format::Table {
            println!("{}", aligned(&HEADER));
        }
        loop {
            let now = Timestamp::now();
            // An event that Kubernetes has deleted does not come again.
            let before = std::mem::take(&mut seen);
            for (name, version, line) in lines {
                if before.get(&name) != Some(&version) {
                    match self.output {
                        Format::Table => println!("{}", aligned(&line.row(now))),
                        format => machine(format, &line)?,
                    }
                }
                seen.insert(name, version);
            }
            lines = loop {
                if is_closed() {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
                match source.read().await {
                    Ok(lines) => {
                        failed.clear();
                        break lines;
                    }
                    // A failure after the first read can be temporary.
                    Err(failure) if failure.what() == failed => {}
                    Err(failure) => {
                        failure.what().clone_into(&mut failed);
                        eprintln!("{failure}");
                    }
                }
            };
        }
    }
}

/// Returns a row in columns of fixed width, since later rows are not known.
fn aligned(row: &[impl AsRef<str>]) -> String {
    const WIDTHS: [usize; 5] = [4, 7, 20, 5, 0];
    let columns = row.iter().zip(WIDTHS);
    let columns = columns.map(|(text, width)| format!("{:width$}", text.as_ref()));
    columns.collect::<Vec<_>>().join("  ")
}

fn none(shown: &str) -> String {
    format!("There are no events about {shown}; Kubernetes keeps them for an hour.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: serde_json::Value) -> Line {
        Line::of(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn an_event_that_repeats_has_its_last_time_and_its_count() {
        let line = event(
            json!({"metadata": {}, "involvedObject": {}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "type": "Warning", "reason": "Drifted", "message": " a\u{1b}b ", "reportingComponent": "rolectl",
            "series": {"count": 3, "lastObservedTime": "2026-01-01T00:05:00.000000Z"}}),
        );
        let now = "2026-01-01T00:07:00Z".parse().unwrap();
        assert_eq!(
            line.row(now),
            ["2m", "Warning", "Drifted", "3", "a\\u{1b}b (rolectl)"]
        );
    }

    #[test]
    fn an_event_of_an_older_recorder_is_read_too() {
        let line = event(
            json!({"metadata": {}, "involvedObject": {}, "lastTimestamp": "2026-01-01T00:00:00Z", "count": 2,
            "source": {"component": "kubelet"}}),
        );
        assert_eq!(line.time, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!((line.count, line.source.as_deref()), (2, Some("kubelet")));
    }
}
