//! A real RabbitMQ, through the script `tests/rabbitmq`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, ByteArray, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::PATIENCE;

/// A broker of the test's own, which it may kill.
pub(crate) struct Broker {
    pub(crate) url: String,
    folder: TempDir,
}

/// A virtual host of the test's own, on the broker that `tests/run` started.
pub(crate) struct Vhost {
    pub(crate) url: String,
    name: String,
    folder: PathBuf,
}

async fn script(arguments: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq");
    let run = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = timeout(PATIENCE * 3, run).await.unwrap().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "tests/rabbitmq {arguments:?}: {error}"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = script(&["start", folder.path().to_str().unwrap()]).await;
        Self { url, folder }
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub(crate) async fn kill(&self) {
        script(&["kill", self.dir()]).await;
    }

    pub(crate) async fn start_again(&self) {
        assert_eq!(
            script(&["start", self.dir()]).await,
            self.url,
            "the same place"
        );
    }

    pub(crate) async fn ctl(&self, arguments: &[&str]) {
        let mut all = vec!["ctl", self.dir()];
        all.extend(arguments);
        script(&all).await;
    }

    pub(crate) async fn bindings(&self) -> Vec<(String, String)> {
        list_bindings(self.folder.path(), "/").await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq");
        let _ = std::process::Command::new(path)
            .args(["stop", self.dir()])
            .status();
    }
}

impl Vhost {
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: run tests/run, which starts RabbitMQ")
            })
        };
        let folder = PathBuf::from(variable("BLACKHOLE_TEST_RABBITMQ_DIR"));
        let base = variable("BLACKHOLE_TEST_AMQP_URL");
        let name = format!(
            "test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = folder.to_str().unwrap();
        script(&["ctl", dir, "add_vhost", &name]).await;
        script(&[
            "ctl",
            dir,
            "set_permissions",
            "-p",
            &name,
            "guest",
            ".*",
            ".*",
            ".*",
        ])
        .await;
        let (server, _) = base.rsplit_once('/').unwrap();
        Self {
            url: format!("{server}/{name}"),
            name,
            folder,
        }
    }

    /// Exchange and key of every binding for events.
    pub(crate) async fn bindings(&self) -> Vec<(String, String)> {
        list_bindings(&self.folder, &self.name).await
    }

    /// A user with these permissions (configure, write, read), made or changed; a URL for it.
    pub(crate) async fn limited_user(&self, configure: &str, write: &str, read: &str) -> String {
        let dir = self.folder.to_str().unwrap();
        let user = format!("user-{}", self.name);
        let users = script(&["ctl", dir, "list_users", "-q"]).await;
        if !users.contains(&user) {
            script(&["ctl", dir, "add_user", &user, "secret"]).await;
        }
        let vhost = &self.name;
        let permissions = [
            "set_permissions",
            "-p",
            vhost,
            &user,
            configure,
            write,
            read,
        ];
        let mut all = vec!["ctl", dir];
        all.extend(permissions);
        script(&all).await;
        self.url.replace("guest:guest", &format!("{user}:secret"))
    }

    /// The broker closes every connection to this virtual host.
    pub(crate) async fn cut_connections(&self) {
        let dir = self.folder.to_str().unwrap();
        let vhost = &self.name;
        script(&[
            "ctl",
            dir,
            "close_all_connections",
            "--vhost",
            vhost,
            "test",
        ])
        .await;
    }

    /// Names and arguments of all queues.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let dir = self.folder.to_str().unwrap();
        let mut all = vec!["ctl", dir, arguments[0], "-p", &self.name];
        all.extend(&arguments[1..]);
        script(&all).await
    }
}

async fn list_bindings(folder: &Path, vhost: &str) -> Vec<(String, String)> {
    let dir = folder.to_str().unwrap();
    let columns = ["source_name", "routing_key", "destination_name"];
    let mut arguments = vec![
        "ctl",
        dir,
        "--formatter",
        "json",
        "-q",
        "list_bindings",
        "-p",
        vhost,
    ];
    arguments.extend(columns);
    let rows: Vec<Value> = serde_json::from_str(&script(&arguments).await).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let mut all: Vec<_> = rows
        .iter()
        // Those for the talk among nodes are always the same.
        .filter(|row| !text(row, columns[2]).contains("-control-"))
        .map(|row| (text(row, columns[0]), text(row, columns[1])))
        .collect();
    all.retain(|(exchange, _)| !exchange.is_empty());
    all.sort();
    all
}

/// An independent publisher, as Kazoo is one.
pub(crate) struct Publisher {
    channel: Channel,
    _connection: Connection,
}

impl Publisher {
    pub(crate) async fn connect(url: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        Self {
            channel,
            _connection: connection,
        }
    }

    /// Declares an exchange as every Kazoo node does; fails if somebody declared it otherwise.
    pub(crate) async fn declare(&self, exchange: &str) {
        let options = ExchangeDeclareOptions::default();
        let declared = self.channel.exchange_declare(
            ShortString::try_new(exchange).unwrap(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        );
        declared.await.unwrap();
    }

    /// As nobody in a Kazoo cluster declares it.
    pub(crate) async fn declare_durable(&self, exchange: &str) {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let name = ShortString::try_new(exchange).unwrap();
        self.channel
            .exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default())
            .await
            .unwrap();
    }

    /// Publishes; false when the broker is gone.
    pub(crate) async fn try_json(&self, exchange: &str, key: &str, body: &Value) -> bool {
        let body = body.to_string();
        let sent = self.channel.basic_publish(
            ShortString::try_new(exchange).unwrap(),
            ShortString::try_new(key).unwrap(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            kazoo_properties(None),
        );
        match sent.await {
            Ok(confirm) => confirm.await.is_ok(),
            Err(_) => false,
        }
    }

    /// Publishes one after the other, and waits until the broker has them all.
    pub(crate) async fn burst(
        &self,
        exchange: &str,
        key: &str,
        bodies: impl IntoIterator<Item = String>,
    ) {
        let mut confirms = Vec::new();
        for body in bodies {
            let sent = self.channel.basic_publish(
                ShortString::try_new(exchange).unwrap(),
                ShortString::try_new(key).unwrap(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                kazoo_properties(None),
            );
            confirms.push(sent.await.unwrap());
        }
        for confirm in confirms {
            timeout(PATIENCE, confirm).await.unwrap().unwrap();
        }
    }

    pub(crate) async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        let sent = self.channel.basic_publish(
            ShortString::try_new(exchange).unwrap(),
            ShortString::try_new(key).unwrap(),
            BasicPublishOptions::default(),
            body,
            properties,
        );
        sent.await.unwrap().await.unwrap();
    }

    pub(crate) async fn json(&self, exchange: &str, key: &str, body: &Value) {
        self.publish(
            exchange,
            key,
            body.to_string().as_bytes(),
            kazoo_properties(None),
        )
        .await;
    }
}

/// What Kazoo sends along: type, a timestamp that is no seconds, and a byte-array header.
pub(crate) fn kazoo_properties(call_id: Option<&str>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_timestamp(63_939_838_830_112_233);
    let Some(call_id) = call_id else {
        return properties;
    };
    let mut headers = FieldTable::default();
    headers.insert(
        "call-id".into(),
        AMQPValue::ByteArray(ByteArray::from(call_id.as_bytes().to_vec())),
    );
    properties.with_headers(headers)
}
