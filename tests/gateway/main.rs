//! Tests of the whole: the real binary, real sockets, a real RabbitMQ.
//!
//! RabbitMQ comes from `BLACKHOLE_TEST_AMQP_URL` and `BLACKHOLE_TEST_RABBITMQ_DIR`, which `tests/run`
//! sets; each test has a virtual host, or a broker, of its own.

// A failed expectation is how a test fails.
#![allow(clippy::unwrap_used)]

mod support;

mod cli;
mod cluster;
mod console;
mod demo;
mod events;
mod isolation;
mod nodes;
mod outage;
mod pressure;
mod protocol;
mod rabbit;
mod rest;
mod rest_accounts;
mod rest_http;
mod rest_login;
mod rest_sockets;
mod rest_users;
mod sockets;
mod stop;
