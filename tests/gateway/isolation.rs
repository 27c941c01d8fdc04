//! No account ever sees another's event.

use serde_json::json;

use crate::support::{A, B, Publisher, Server, Vhost};

/// Two accounts and a super-duper admin, all with every binding that there is, and events of both
/// accounts, some with keys that lie about their body.
#[tokio::test]
async fn nobody_sees_anothers_event() {
    let vhost = Vhost::new().await;
    // A threshold of one: both accounts share the wide broker bindings, so that everything comes in.
    let server = Server::with(&["--amqp-url", &vhost.url, "--set", "amqp.wide_threshold=1"]).await;
    let accounts = [server.account(A).await, server.account(B).await];
    let mut clients = Vec::new();
    for account in &accounts {
        let mut client = server.client().await;
        for binding in [
            "call.*.*",
            "fax.status.*",
            "fax.object.*",
            "object.*.*",
            "conference.event.c.*",
            "presence.dialog.*",
            "presence.mwi_updates.*",
            "registration.success",
        ] {
            client.subscribe(account, binding).await;
        }
        clients.push(client);
    }
    let publisher = Publisher::connect(&vhost.url).await;
    let database = |id: &str| format!("account%2F{}%2F{}%2F{}", &id[..2], &id[2..4], &id[4..]);
    for (own, realm, other) in [
        (A, "a3f1c2%2Esip%2Eexample%2Enet", B),
        (B, "other%2Eexample%2Enet", A),
    ] {
        for (exchange, key, body) in [
            (
                "faxes",
                format!("fax.status.{own}.x"),
                json!({"Account-ID":own}),
            ),
            // The body is of another account than the key says.
            (
                "faxes",
                format!("fax.status.{own}.x"),
                json!({"Account-ID":other,"Secret":own}),
            ),
            (
                "faxes",
                "fax.status.*.x".into(),
                json!({"Secret":"nobody's"}),
            ),
            (
                "configuration",
                format!("doc_edited.{}.user.x", database(own)),
                json!({"Account-ID":own}),
            ),
            (
                "configuration",
                format!("doc_edited.{}.user.x", database(own)),
                json!({"Account-ID":other,"Secret":own}),
            ),
            (
                "configuration",
                format!("doc_edited.{}-202611.fax.x", database(own)),
                json!({"Account-ID":own}),
            ),
            (
                "configuration",
                format!("doc_edited.{}-202611.fax.x", database(own)),
                json!({}),
            ),
            (
                "conference",
                format!("conference.event.add-member.{own}.c.x"),
                json!({"Account-ID":own}),
            ),
            (
                "conference",
                format!("conference.event.add-member.{own}.c.x"),
                json!({"Account-ID":other,"Secret":own}),
            ),
            (
                "presence",
                format!("dialog.{realm}.x"),
                json!({"Account-ID":own}),
            ),
            ("presence", format!("mwi_updates.{realm}.1004"), json!({})),
            (
                "presence",
                format!("dialog.{realm}.x"),
                json!({"Account-ID":other,"Secret":own}),
            ),
            (
                "registrar",
                format!("registration.success.{realm}.u"),
                json!({"Account-ID":own}),
            ),
        ] {
            let mut body = body;
            body["Event-Name"] = "x".into();
            body["Of"] = own.into();
            publisher.json(exchange, &key, &body).await;
        }
        let call = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"x","Of":own,"Custom-Channel-Vars":{"Account-ID":own}});
        publisher
            .json("callevt", "call.CHANNEL_CREATE.x", &call)
            .await;
        let nobody = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"x","Account-ID":own,"Secret":"nobody's"});
        publisher
            .json("callevt", "call.CHANNEL_CREATE.x", &nobody)
            .await;
    }
    // The end, for both.
    for own in [A, B] {
        let end = json!({"Event-Name":"PARK_PARKED","Call-ID":"end","Of":own,"Custom-Channel-Vars":{"Account-ID":own}});
        publisher
            .json("callevt", "call.PARK_PARKED.end", &end)
            .await;
    }
    for (client, own) in clients.iter_mut().zip([A, B]) {
        let mut seen = 0;
        loop {
            let event = client.event().await;
            assert_eq!(event["data"]["of"], own, "{event}");
            assert!(event["data"].get("secret").is_none(), "{event}");
            if event["data"]["call_id"] == "end" {
                break;
            }
            seen += 1;
        }
        // fax 1, user document 1, fax documents 2 under two bindings each, conference 1, presence 2,
        // registration 1, call 1.
        assert_eq!(seen, 11, "{own}");
    }
    assert!(server.metric("blackhole_events_withheld_total").await >= 6.0);
}
