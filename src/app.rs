//! The whole: builds every part, binds every port, supervises, stops in good order.

mod drain;
mod lane;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lane::Lane;
use crate::api::{self, ApiState, Console, ConsoleSettings, Service};
use crate::auth::{Authority, TrustedIssuer};
use crate::cluster::{Cluster, ClusterSettings};
use crate::demo::Demo;
use crate::gateway::{
    CloseReason, Registry, Room, Shared, Transport, bind, keep_watch, keep_within, serve,
    server_config,
};
use crate::index::Index;
use crate::node::Node;
use crate::session::Limits;
use crate::settings::Settings;
use crate::source::{Amqp, AmqpSettings, Bus, Ingress, Source};
use crate::store::{FirstStart, LiveStore, News, Started};
use crate::telemetry::Metrics;

/// For events that came before a stop to be routed.
const SETTLE: Duration = Duration::from_secs(1);

/// A gateway that runs: every port is open.
#[derive(Debug)]
pub struct Running {
    /// Where ws listens.
    pub ws: Option<SocketAddr>,
    /// Where wss listens.
    pub wss: Option<SocketAddr>,
    /// Where HTTP listens.
    pub api: Option<SocketAddr>,
    /// What the first start made; to be shown once.
    pub first: Option<FirstStart>,
    /// The simulated Kazoo.
    pub demo: Option<Demo>,
    shared: Arc<Shared>,
    cluster: Cluster,
    dispatcher: JoinHandle<()>,
    ingress: Arc<Ingress>,
    _lane: Lane,
    tasks: TaskTracker,
    stop: CancellationToken,
    window: Duration,
    reason: CloseReason,
    /// Keeps accounts and users fresh, also where there is neither API nor broker.
    _store: LiveStore,
}

/// Starts everything. An error names the part and, where one is to blame, the setting.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let ports = Ports::open(&settings)?;
    let tls = match &ports.wss {
        Some(_) => Some(server_config(settings.tls.as_ref(), &settings.tls_dev_dir)?),
        None => None,
    };
    let mut issuers = Vec::new();
    for issuer in &settings.issuers {
        issuers.push(TrustedIssuer::load(issuer, &settings.base)?);
    }
    let lane = Lane::open()?;
    let Started { store, first, news } = LiveStore::start(&settings.data_dir)?;
    let metrics = Arc::new(Metrics::default());
    let catalogue = Arc::new(settings.catalogue);
    let ingress = Arc::new(Ingress::new(settings.ingress_max_bytes, metrics.clone()));
    let cluster_settings = settings.amqp.as_ref().map(|amqp| ClusterSettings {
        url: amqp.url.clone(),
        node: settings.node.clone(),
        zone: amqp.zone.clone(),
    });
    let source = match settings.amqp {
        None => Source::Embedded(Bus::new(
            catalogue.clone(),
            ingress.clone(),
            metrics.clone(),
        )),
        Some(amqp) => {
            let amqp = AmqpSettings {
                url: amqp.url,
                node: settings.node.clone(),
                queue_max_bytes: amqp.queue_max_bytes,
                wide_threshold: amqp.wide_threshold,
                unbind_delay: amqp.unbind_delay,
                event_max_bytes: settings.event_max_bytes,
            };
            let _guard = lane.enter();
            Source::Amqp(Amqp::start(
                amqp,
                catalogue.clone(),
                ingress.clone(),
                metrics.clone(),
            ))
        }
    };
    let limits = Limits {
        rate_burst: settings.socket.rate_burst,
        rate_per_second: settings.socket.rate_per_second,
        max_subscriptions: settings.socket.max_subscriptions,
        login: settings.socket.login_timeout,
        idle: settings.socket.idle_timeout,
        ping: settings.socket.ping_interval,
        kazoo_listing: settings.kazoo_listing,
    };
    let room = Arc::new(Room::new(
        settings.socket.max_waiting_bytes,
        settings.socket.max_waiting_bytes_in_all,
        metrics.clone(),
    ));
    let shared = Arc::new(Shared {
        registry: Arc::new(Registry::default()),
        index: Arc::new(Index::default()),
        catalogue: catalogue.clone(),
        authority: Arc::new(Authority::new(store.live(), issuers)),
        source: Arc::new(source),
        room: room.clone(),
        quotas: Arc::default(),
        metrics: metrics.clone(),
        settings: settings.socket,
        limits: Arc::new(limits),
    });
    tokio::spawn(keep_watch(shared.clone()));
    tokio::spawn(keep_within(shared.clone()));
    let node = Node::new(settings.node.clone(), shared.clone(), store.clone()).await;
    let node = Arc::new(node);
    let cluster = cluster_settings.map_or_else(Cluster::alone, |settings| {
        Cluster::start(settings, node.clone(), shared.metrics.clone())
    });
    tokio::spawn(tell(news, cluster.clone()));
    let dispatcher = lane.spawn(lane::Dispatch {
        catalogue,
        index: shared.index.clone(),
        ingress: ingress.clone(),
        room,
        metrics,
    });

    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let (ws, wss, api) = ports.addresses()?;
    if let Some(listener) = ports.ws {
        tokio::spawn(serve(
            listener,
            Transport::Plain,
            shared.clone(),
            tasks.clone(),
            stop.clone(),
        ));
    }
    if let (Some(listener), Some(tls)) = (ports.wss, tls) {
        tokio::spawn(serve(
            listener,
            Transport::Tls(tls),
            shared.clone(),
            tasks.clone(),
            stop.clone(),
        ));
    }
    if let Some(listener) = ports.api {
        let console = settings.console.enabled.then(|| {
            Console::new(ConsoleSettings {
                socket_url: settings.console.socket_url,
                ws_port: ws.map(|address| address.port()),
                wss_port: wss.map(|address| address.port()),
                node: settings.node.clone(),
                demo: settings.demo.is_some(),
            })
        });
        let state = ApiState::new(
            shared.clone(),
            store.clone(),
            node,
            cluster.clone(),
            settings.api,
            console,
            stop.clone(),
        );
        // Health and metrics are there until the end; the process takes them with it.
        tokio::spawn(api::serve(listener, Service::new(Arc::new(state))));
    }
    let demo = match settings.demo {
        Some(settings) => {
            let demo = Demo::start(settings, store.clone(), shared.source.clone());
            Some(demo.await.context("the demo did not start")?)
        }
        None => None,
    };
    Ok(Running {
        ws,
        wss,
        api,
        first,
        demo,
        shared,
        cluster,
        dispatcher,
        ingress,
        _lane: lane,
        tasks,
        stop,
        window: settings.stop_window,
        reason: if settings.restart_notice {
            CloseReason::Restart
        } else {
            CloseReason::GoingAway
        },
        _store: store,
    })
}

impl Running {
    /// Ends only if a part fails without which nothing works.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = (&mut self.dispatcher).await;
        anyhow::anyhow!("the dispatcher ended: {ended:?}")
    }

    /// Stops accepting, closes the sockets, leaves the broker.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(demo) = self.demo {
            demo.stop().await;
        }
        // What came before the stop is still for the sockets.
        let _ = timeout(SETTLE, self.ingress.settled()).await;
        drain::close_all(&self.shared.registry, &self.reason, self.window).await;
        drain::wait(&self.tasks).await;
        self.cluster.stop().await;
        self.shared.source.stop().await;
    }

    /// Accounts, users and tokens.
    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }
}

/// Changes made here to the other nodes.
async fn tell(mut news: UnboundedReceiver<News>, cluster: Cluster) {
    while let Some(news) = news.recv().await {
        let Ok(notice) = serde_json::to_value(&news) else {
            continue;
        };
        if !cluster.tell(notice).await {
            tracing::warn!(
                "other nodes could not be told of a change; they ask when they are back"
            );
        }
    }
}

struct Ports {
    ws: Option<TcpListener>,
    wss: Option<TcpListener>,
    api: Option<TcpListener>,
}

impl Ports {
    /// All or none, so that a start that cannot be complete fails before anything else happens.
    fn open(settings: &Settings) -> anyhow::Result<Self> {
        let open = |name: &str, port: Option<u16>| {
            let Some(port) = port else { return Ok(None) };
            let address = SocketAddr::new(settings.listen, port);
            bind(address)
                .map(Some)
                .with_context(|| format!("{name} = {port}: cannot listen on {address}"))
        };
        if settings.ws_port.is_none() && settings.wss_port.is_none() && settings.api_port.is_none()
        {
            bail!("ws.port, wss.port and api.port are all off: there is nothing to do");
        }
        Ok(Self {
            ws: open("ws.port", settings.ws_port)?,
            wss: open("wss.port", settings.wss_port)?,
            api: open("api.port", settings.api_port)?,
        })
    }

    fn addresses(
        &self,
    ) -> std::io::Result<(Option<SocketAddr>, Option<SocketAddr>, Option<SocketAddr>)> {
        let of = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok((of(&self.ws)?, of(&self.wss)?, of(&self.api)?))
    }
}
