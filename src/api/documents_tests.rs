//! The descriptions against the program: the routes, who may, and every error, both ways.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::fault::Fault;
use super::super::routes::{Access, Route, table};
use super::{ASYNCAPI, OPENAPI};
use crate::auth::TokenError;
use crate::described;
use crate::source::SourceError;

fn openapi() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

/// The keys of an object, or none.
fn keys(object: &Value) -> BTreeSet<&str> {
    let members = object.as_object();
    members
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
    &document["paths"][route.path][route.method.as_str().to_lowercase()]
}

/// Every `$ref` below a value.
fn references<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(target) if key == "$ref" => found.push(target),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn both_are_of_this_version_and_lead_nowhere_astray() {
    for text in [OPENAPI, ASYNCAPI] {
        let document: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut targets = Vec::new();
        references(&document, &mut targets);
        for target in targets {
            let pointer = target.strip_prefix('#').expect("a place in the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        // What nothing leads to is out of date.
        for (kind, parts) in document["components"].as_object().expect("components") {
            for name in keys(parts) {
                let used = text.contains(&format!("\"#/components/{kind}/{name}\""));
                assert!(used || kind == "securitySchemes", "{kind}/{name}");
            }
        }
    }
}

#[test]
fn routes_are_described_and_nothing_else() {
    let document = openapi();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = keys(item).into_iter().filter(|key| *key != "parameters");
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let routes = table();
    let served = routes
        .iter()
        .map(|route| format!("{} {}", route.method, route.path));
    assert_eq!(described, served.collect());
}

#[test]
fn operations_are_complete() {
    let document = openapi();
    let tags = document["tags"].as_array().expect("tags").iter();
    let tags: BTreeSet<_> = tags.map(|tag| &tag["name"]).map(Value::to_string).collect();
    let mut ids = BTreeSet::new();
    for route in table() {
        let operation = operation(&document, &route);
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id), "{id} twice");
        assert!(operation["summary"].is_string(), "{id}");
        for tag in operation["tags"].as_array().expect("tags") {
            assert!(tags.contains(&tag.to_string()), "{id}: {tag}");
        }
        let parameters = document["paths"][route.path]["parameters"].as_array();
        let described = parameters.into_iter().flatten().map(|parameter| {
            let pointer = parameter["$ref"]
                .as_str()
                .expect("shared")
                .trim_start_matches('#');
            document
                .pointer(pointer)
                .and_then(|found| found["name"].as_str())
        });
        let holes = route
            .path
            .split('{')
            .skip(1)
            .map(|part| part.split('}').next());
        assert!(described.eq(holes), "{id}");
    }
}

/// What the pipeline itself answers. Open resources that are about credentials have 401 as well.
#[test]
fn statuses_of_the_pipeline_are_described() {
    let about_credentials = ["/v2/user_auth", "/v2/api_auth", "/v2/auth/tokeninfo"];
    let document = openapi();
    for route in table() {
        let operation = operation(&document, &route);
        let name = format!("{} {}", route.method, route.path);
        let statuses = keys(&operation["responses"]);
        let shared = |status: &str| operation["responses"][status]["$ref"].as_str();
        let says = |status: &str, response: &str| {
            shared(status).is_some_and(|found| found.ends_with(&format!("/{response}")))
        };
        assert!(
            statuses.iter().any(|status| status.starts_with('2')),
            "{name}"
        );
        for status in ["405", "406", "429", "500"] {
            assert!(statuses.contains(status), "{name}: {status}");
        }
        let secured = operation["security"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let open = route.access == Access::Open;
        assert_eq!(secured, !open, "{name}: security");
        if open {
            let expected = about_credentials.contains(&route.path);
            assert_eq!(statuses.contains("401"), expected, "{name}: 401");
        } else {
            assert!(says("401", "InvalidCredentials"), "{name}: 401");
        }
        let guarded = !matches!(route.access, Access::Open | Access::Token);
        assert_eq!(says("403", "Forbidden"), guarded, "{name}: 403");
        let of_account = matches!(route.access, Access::Account | Access::Admin);
        assert_eq!(says("404", "NotFound"), of_account, "{name}: 404");
        let body = ["PUT", "POST", "PATCH"].contains(&route.method.as_str());
        for status in ["408", "413", "415"] {
            assert_eq!(statuses.contains(status), body, "{name}: {status}");
        }
        assert!(!body || statuses.contains("400"), "{name}: 400");
    }
}

#[test]
fn errors_are_described_and_nothing_else() {
    let document = openapi();
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for response in document["components"]["responses"]
        .as_object()
        .expect("responses")
        .values()
    {
        let schema = &response["content"]["application/json"]["schema"]["properties"];
        let status = schema["error"]["const"].as_str().expect("a status");
        let messages = schema["message"]["enum"]
            .as_array()
            .expect("messages")
            .iter();
        let messages = messages.map(|message| message.as_str().expect("text").to_owned());
        described
            .entry(status.to_owned())
            .or_default()
            .extend(messages);
    }
    let mut given: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for fault in Fault::ALL {
        let messages = given.entry(fault.status().as_str().to_owned()).or_default();
        messages.insert(fault.message().to_owned());
    }
    assert_eq!(described, given);
    // Under the status that they are of.
    for route in table() {
        for (status, response) in operation(&document, &route)["responses"]
            .as_object()
            .expect("responses")
        {
            if let Some(target) = response["$ref"].as_str() {
                let shared = document
                    .pointer(target.trim_start_matches('#'))
                    .expect("there");
                let example = &shared["content"]["application/json"]["example"];
                assert_eq!(example["error"], status.as_str(), "{target}");
            }
        }
    }
}

/// The reasons that the websocket protocol gives for a token that is worth nothing.
#[test]
fn reasons_of_bad_tokens_are_described_and_nothing_else() {
    use TokenError::{
        Algorithm, BadIdentity, BadSignature, Disabled, Expired, Malformed, NoAccount, Revoked,
        Superduper, UnknownIdentity, UnknownIssuer, UnknownKey,
    };
    let all = [
        Malformed,
        Algorithm,
        UnknownIssuer,
        UnknownKey,
        BadSignature,
        Expired,
        BadIdentity,
        NoAccount,
        UnknownIdentity,
        Disabled,
        Revoked,
        Superduper,
    ];
    let given: BTreeSet<String> = all
        .into_iter()
        .map(|error| match error {
            // A new one does not compile here until it is in the list above.
            Malformed | Algorithm | UnknownIssuer | UnknownKey | BadSignature | Expired
            | BadIdentity | NoAccount | UnknownIdentity | Disabled | Revoked | Superduper => {
                error.to_string()
            }
        })
        .collect();
    let lists = ["x-errors", "x-close-codes"].map(described::list).concat();
    let with_reasons = lists.iter().filter(|entry| entry.get("reasons").is_some());
    let mut checked = 0;
    for entry in with_reasons {
        let reasons = described::reasons(entry).into_iter().map(str::to_owned);
        assert_eq!(reasons.collect::<BTreeSet<_>>(), given, "{entry}");
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// What a subscribe can be told by the event source.
#[test]
fn refusals_of_the_event_source_are_described() {
    for error in [SourceError::Away, SourceError::Refused("why".into())] {
        described::assert_error(&error.told());
    }
}
