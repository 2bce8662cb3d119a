//! Flags and output of the commands that list rows, as `kubectl get` has them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::jsonpath::Template;
use super::table::{Cell, Layout, lines};
use super::{Document, Format, as_value, machine, printable};
use crate::failure::Failure;
use crate::stdio::{print, println};

/// Form of the rows and their order.
#[derive(Clone, Debug, Args)]
pub struct ListingFlags {
    /// Form of the output: table, wide, name, json, yaml, or jsonpath=TEMPLATE
    #[arg(long, short, value_name = "FORM", default_value = "table", value_parser = form)]
    output: Form,
    /// No line with the names of the columns
    #[arg(long)]
    no_headers: bool,
    /// Sort by a field of the JSON output, such as `state` or `.lastSweep`
    #[arg(long, value_name = "FIELD")]
    sort_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Wide,
    Name,
    Machine(Format),
    JsonPath(Template),
}

fn form(text: &str) -> Result<Form, String> {
    if let Some(template) = text.strip_prefix("jsonpath=") {
        return Template::parse(template).map(Form::JsonPath);
    }
    match text {
        "table" => Ok(Form::Table),
        "wide" => Ok(Form::Wide),
        "name" => Ok(Form::Name),
        "json" => Ok(Form::Machine(Format::Json)),
        "yaml" => Ok(Form::Machine(Format::Yaml)),
        _ => Err("write table, wide, name, json, yaml or jsonpath=TEMPLATE".to_owned()),
    }
}

/// A row of a list.
pub trait Row: Serialize + JsonSchema {
    /// Columns of the table.
    const COLUMNS: &'static [&'static str];
    /// Further columns of `-o wide`. They are in front of the last column.
    const WIDE: &'static [&'static str];
    /// Returns the cells for the columns.
    fn cells(&self) -> Vec<Cell>;
    /// Returns the cells for the further columns.
    fn wide_cells(&self) -> Vec<Cell>;
    /// Returns the resource as `-o name` shows it: `iamrole.iam.rolectl.dev/app`.
    fn resource(&self) -> String;
    /// Returns namespace and name. Rows with the same ones are of one resource.
    fn identity(&self) -> (&str, &str);
}

/// A list as programs read it.
#[derive(Serialize, JsonSchema)]
pub struct List<R> {
    pub items: Vec<R>,
}

impl ListingFlags {
    /// Returns true for output that a person reads.
    pub const fn is_for_people(&self) -> bool {
        matches!(self.output, Form::Table | Form::Wide)
    }

    /// Prints rows, in the order of `--sort-by`.
    pub fn print<R: Row>(&self, rows: Vec<R>) -> Result<(), Failure>
    where
        List<R>: Document,
    {
        self.print_rows(self.sorted(rows)?, !self.no_headers)
    }

    /// Prints the rows that have appeared or changed since `shown`, for `--watch`. `shown` is empty at first.
    pub fn print_changes<R: Row>(
        &self,
        rows: Vec<R>,
        shown: &mut BTreeMap<String, usize>,
    ) -> Result<(), Failure>
    where
        List<R>: Document,
    {
        let is_first = shown.is_empty();
        let mut now: BTreeMap<String, usize> = BTreeMap::new();
        let mut changed = vec![];
        for row in self.sorted(rows)? {
            let text = as_value(&row)?.to_string();
            let count = now.entry(text.clone()).or_default();
            *count += 1;
            if *count > shown.get(&text).copied().unwrap_or_default() {
                changed.push(row);
            }
        }
        *shown = now;
        if changed.is_empty() {
            return Ok(());
        }
        self.print_rows(changed, is_first && !self.no_headers)
    }

    fn print_rows<R: Row>(&self, rows: Vec<R>, with_header: bool) -> Result<(), Failure>
    where
        List<R>: Document,
    {
        match &self.output {
            Form::Table | Form::Wide => {
                let is_wide = self.output == Form::Wide;
                let mut layout = Layout {
                    with_header,
                    ..Layout::of_stdout()
                };
                if is_wide {
                    layout.width = None;
                }
                let header = columns(R::COLUMNS, R::WIDE, is_wide);
                let cells = rows.iter().map(|row| {
                    let wide = if is_wide { row.wide_cells() } else { vec![] };
                    columns(&row.cells(), &wide, is_wide)
                });
                for line in lines(&header, cells.collect(), layout) {
                    println!("{line}");
                }
                Ok(())
            }
            Form::Name => {
                let mut shown = BTreeSet::new();
                for row in &rows {
                    // A role in several accounts is one resource.
                    if shown.insert(row.identity()) {
                        println!("{}", row.resource());
                    }
                }
                Ok(())
            }
            Form::Machine(format) => machine(*format, &List { items: rows }),
            Form::JsonPath(template) => {
                let text = template.fill(&super::versioned(&List { items: rows })?);
                let text =
                    text.map_err(|why| Failure::new(why, "correct the template of -o jsonpath").usage())?;
                if std::io::stdout().is_terminal() {
                    let lines: Vec<_> = text
                        .split('\n')
                        .map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t"))
                        .collect();
                    print!("{}", lines.join("\n"));
                } else {
                    print!("{text}");
                }
                Ok(())
            }
        }
    }

    /// Returns the rows in the order of `--sort-by`.
    fn sorted<R: Serialize>(&self, rows: Vec<R>) -> Result<Vec<R>, Failure> {
        let Some(field) = &self.sort_by else {
            return Ok(rows);
        };
        let path: Vec<&str> = field
            .trim_matches(['{', '}', '$'])
            .split('.')
            .filter(|name| !name.is_empty())
            .collect();
        let mut keyed = vec![];
        for row in rows {
            let all = as_value(&row)?;
            let key = path.iter().try_fold(&all, |value, name| value.get(name));
            let Some(key) = key.cloned() else {
                let fields = all.as_object().into_iter().flat_map(|fields| fields.keys());
                let fields: Vec<&str> = fields.map(String::as_str).collect();
                return Err(Failure::new(
                    format!("there is no field {field} to sort by"),
                    format!("give one of {}", fields.join(", ")),
                )
                .usage());
            };
            keyed.push((key, row));
        }
        keyed.sort_by(|(a, _), (b, _)| order(a, b));
        Ok(keyed.into_iter().map(|(_, row)| row).collect())
    }
}

/// Puts further columns in front of the last one.
fn columns<T: Clone>(columns: &[T], further: &[T], is_wide: bool) -> Vec<T> {
    let Some((last, first)) = columns.split_last() else {
        return vec![];
    };
    let further = if is_wide { further } else { &[] };
    first.iter().chain(further).chain([last]).cloned().collect()
}

/// The order of two values: numbers by size, texts by their characters, and what is missing last.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, PartialEq, Debug)]
    struct Thing {
        name: &'static str,
        n: Option<u32>,
    }

    #[test]
    fn rows_are_sorted_by_a_field_and_an_unknown_field_names_those_that_exist() {
        let sorted = |field: &str| {
            let flags = ListingFlags {
                output: Form::Table,
                no_headers: false,
                sort_by: Some(field.to_owned()),
            };
            let things = vec![
                Thing { name: "b", n: None },
                Thing {
                    name: "a",
                    n: Some(10),
                },
                Thing {
                    name: "c",
                    n: Some(9),
                },
            ];
            let names = |things: Vec<Thing>| things.iter().map(|thing| thing.name).collect::<String>();
            flags.sorted(things).map(names).map_err(|e| e.to_string())
        };
        assert_eq!(sorted("name").as_deref(), Ok("abc"));
        assert_eq!(sorted("{.n}").as_deref(), Ok("cab"));
        assert!(sorted(".size").unwrap_err().contains("give one of n, name"));
    }

    #[test]
    fn the_forms_of_kubectl_are_understood() {
        for (text, form) in [
            ("wide", Some(Form::Wide)),
            ("name", Some(Form::Name)),
            ("json", Some(Form::Machine(Format::Json))),
            (
                "jsonpath={.items[*].name}",
                Template::parse("{.items[*].name}").ok().map(Form::JsonPath),
            ),
            ("jsonpath=", None),
            ("go-template=x", None),
        ] {
            assert_eq!(super::form(text).ok(), form, "{text}");
        }
    }

    #[test]
    fn further_columns_are_in_front_of_the_last() {
        assert_eq!(columns(&[1, 2, 3], &[8, 9], true), [1, 2, 8, 9, 3]);
        assert_eq!(columns(&[1, 2, 3], &[8, 9], false), [1, 2, 3]);
    }
}
