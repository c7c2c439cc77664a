//! How a line of the process log looks: Traefik's console and JSON forms.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `2009-11-10T23:00:00Z ERR message key=value`.
pub(super) struct Common {
    zone: TimeZone,
    colour: bool,
}

impl Common {
    pub(super) fn local(colour: bool) -> Self {
        Self { zone: TimeZone::system(), colour }
    }

    fn level(&self, level: Level, writer: &mut Writer<'_>) -> fmt::Result {
        let (word, colour) = match level {
            Level::TRACE => ("TRC", 35),
            Level::DEBUG => ("DBG", 33),
            Level::INFO => ("INF", 32),
            Level::WARN => ("WRN", 31),
            Level::ERROR => ("ERR", 31),
        };
        if self.colour { write!(writer, "\x1b[{colour}m{word}\x1b[0m") } else { writer.write_str(word) }
    }
}

/// `{"level":"error","time":"2009-11-10T23:00:00Z","message":"…","key":"value"}`.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Common
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let now = Timestamp::now();
        let local = now.to_zoned(self.zone.clone());
        write!(writer, "{} ", local.strftime("%Y-%m-%dT%H:%M:%S%:z"))?;
        self.level(*metadata.level(), &mut writer)?;
        let mut fields = Fields::of(event);
        write!(writer, " {}", Escaped(&fields.message))?;
        fields.add_target(metadata);
        for (name, value) in &fields.others {
            write!(writer, " {name}=")?;
            value.write_common(&mut writer)?;
        }
        writer.write_char('\n')
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let level = metadata.level().as_str().to_ascii_lowercase();
        let mut fields = Fields::of(event);
        fields.add_target(metadata);
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        write!(writer, r#"{{"level":"{level}","time":"{time}","message":{}"#, json(&fields.message))?;
        for (name, value) in &fields.others {
            write!(writer, ",{}:", json(name))?;
            value.write_json(&mut writer)?;
        }
        writer.write_str("}\n")
    }
}

/// An event's fields, gathered.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// Reads the same in both formats.
    Plain(String),
}

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    /// Says which library speaks. Our own modules are told by their messages.
    fn add_target(&mut self, metadata: &Metadata<'_>) {
        if !metadata.target().starts_with("portcullis") {
            self.others.push(("target", Value::Text(metadata.target().to_owned())));
        }
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Plain(text)) => self.message = text,
            // What the bridge adds to a line of the `log` crate; the target says it better.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::Text(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        self.add(field, if value.is_finite() { Value::Plain(text) } else { Value::Text(text) });
    }
}

impl Value {
    fn write_common(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => writer.write_str(text),
            Self::Text(text)
                if text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte)) =>
            {
                writer.write_str(if text.is_empty() { "\"\"" } else { text })
            }
            Self::Text(text) => write!(writer, "{text:?}"),
        }
    }

    fn write_json(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => writer.write_str(text),
            Self::Text(text) => writer.write_str(&json(text)),
        }
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text with its control characters escaped, so that it stays on its line.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_debug())
            } else {
                f.write_char(character)
            }
        })
    }
}
