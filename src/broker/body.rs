//! A message's bytes to JSON text (kazoo-amqp.md 1.4). Everything is bounded; nothing crashes.

use std::io::Read;

use flate2::read::GzDecoder;
use lapin::message::Delivery;
use lapin::types::ShortString;

/// What the properties of a message say about its body.
#[derive(Debug, Default, Clone, Copy)]
struct Properties<'a> {
    content_type: Option<&'a str>,
    content_encoding: Option<&'a str>,
    /// The header `Deliver-To-PID` is there: the message is for one Erlang process.
    for_process: bool,
}

/// The text of a delivery, at most `max` bytes unpacked, or the reason for which it is dropped (a
/// label of metrics).
pub fn read(delivery: Delivery, max: usize) -> Result<String, &'static str> {
    let said = &delivery.properties;
    let properties = Properties {
        content_type: said.content_type().as_ref().map(ShortString::as_str),
        content_encoding: said.content_encoding().as_ref().map(ShortString::as_str),
        for_process: said
            .headers()
            .as_ref()
            .is_some_and(|headers| headers.contains_key("Deliver-To-PID")),
    };
    decode(delivery.data, properties, max)
}

fn decode(data: Vec<u8>, properties: Properties<'_>, max: usize) -> Result<String, &'static str> {
    if properties.for_process {
        return Err("for_process");
    }
    let media = properties.content_type.unwrap_or("application/json");
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err("content_type");
    }
    if data.len() > max {
        return Err("oversize");
    }
    let gzip = properties
        .content_encoding
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
    let data = if gzip { gunzip(&data, max)? } else { data };
    String::from_utf8(data).map_err(|_| "not_json")
}

fn gunzip(data: &[u8], max: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(data)
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|_| "gzip")?;
    if out.len() > max {
        return Err("oversize");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("writes");
        encoder.finish().expect("ends")
    }

    #[test]
    fn kinds_of_bodies() {
        let json = Properties {
            content_type: Some("application/json"),
            ..Properties::default()
        };
        let zipped = Properties {
            content_encoding: Some("gzip"),
            ..json
        };
        let typed = |content_type| Properties {
            content_type: Some(content_type),
            ..json
        };
        let bomb = gzip(&vec![b' '; 10_000_000]);
        for (data, properties, expected) in [
            (b"{}".to_vec(), json, Ok("{}".to_owned())),
            (b"{}".to_vec(), Properties::default(), Ok("{}".into())),
            (
                b"{}".to_vec(),
                typed("Application/JSON; charset=utf-8"),
                Ok("{}".into()),
            ),
            (
                b"{}".to_vec(),
                typed("application/erlang"),
                Err("content_type"),
            ),
            (
                b"{}".to_vec(),
                Properties {
                    for_process: true,
                    ..json
                },
                Err("for_process"),
            ),
            (gzip(b"{}"), zipped, Ok("{}".into())),
            (b"{}".to_vec(), zipped, Err("gzip")),
            (gzip(b"{}")[..10].to_vec(), zipped, Err("gzip")),
            (bomb, zipped, Err("oversize")),
            (vec![b' '; 101], json, Err("oversize")),
            (vec![0xff], json, Err("not_json")),
        ] {
            let bomb_or_body = if properties.content_encoding.is_some() {
                100_000
            } else {
                100
            };
            assert_eq!(decode(data, properties, bomb_or_body), expected);
        }
    }
}
