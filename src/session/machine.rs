//! One session, from its first message to its end.
//!
//! A message goes through the checks in the order of section 4: rate limit, authentication,
//! validation, authorisation, limits, the command. Where the answer lies outside, the machine returns
//! a [`Step`] that asks, and goes on when it is told. Every message ends in exactly one
//! [`Step::Done`], with exactly one reply (or a close, for a client that ignores the rate limit).
//! Nothing of a failed message stays: state changes only where a success is written.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::step::{Close, Denied, Done, Frame, Limits, Listing, Outcome, Step, Tick};
use super::table::{Table, listing};
use super::wire::{self, Arguments, Notes, Request, Success};
use crate::catalogue::{Account, Catalogue, NOT_AVAILABLE, Plan, Subscription};
use crate::model::{Bucket, Identity, SessionId};

/// The state of one socket.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    catalogue: Arc<Catalogue>,
    limits: Arc<Limits>,
    rate: Bucket,
    /// Each refusal by the rate limit takes one; empty: the client does not stop.
    strikes: Bucket,
    opened: Instant,
    last_frame: Instant,
    last_ping: Instant,
    /// Nothing has come since our last ping.
    pong_due: bool,
    /// The answer to our last ping has not come; it is not charged to the client.
    pong_owed: bool,
    login: Option<Login>,
    table: Table,
    notes: Notes,
    /// Boxed: a session is mostly idle.
    pending: Option<Box<Pending>>,
    made_ids: u64,
    hasher: RandomState,
}

/// Refusals by the rate limit at once, and forgiven a second, before the socket is closed.
const STRIKES: (u32, u32) = (100, 1);

const SUBSCRIPTIONS: Outcome = Outcome::Limited("subscriptions_of_socket");

/// Errors in one reply; what goes beyond is counted only.
const MAX_ERRORS: usize = 100;

#[derive(Debug, Clone)]
struct Login {
    identity: Identity,
    /// Tells a token that is sent again from a new one without keeping it.
    token_hash: u64,
    expires: Option<Instant>,
}

/// A message that waits for an answer from outside. `login` is what becomes of the session's login
/// when the message succeeds.
#[derive(Debug)]
enum Pending {
    Identity {
        request: Request,
        token_hash: u64,
    },
    Access {
        request: Request,
        login: Login,
        arguments: Arguments,
        plans: Vec<Plan>,
        remove: bool,
    },
    Listening {
        request: Request,
        login: Login,
        account: Account,
    },
}

impl Session {
    /// A session that nobody has logged in to yet.
    pub fn new(
        id: SessionId,
        catalogue: Arc<Catalogue>,
        limits: Arc<Limits>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            rate: Bucket::new(limits.rate_burst, limits.rate_per_second, now),
            strikes: Bucket::new(STRIKES.0, STRIKES.1, now),
            catalogue,
            limits,
            opened: now,
            last_frame: now,
            last_ping: now,
            pong_due: false,
            pong_owed: false,
            login: None,
            table: Table::default(),
            notes: Notes::default(),
            pending: None,
            made_ids: 0,
            hasher: RandomState::new(),
        }
    }

    /// A frame from the client. No frame may come while a step is open.
    pub fn on_frame(&mut self, frame: Frame<'_>, now: Instant) -> Step {
        self.last_frame = now;
        self.pong_due = false;
        if matches!(frame, Frame::Pong) && std::mem::take(&mut self.pong_owed) {
            return Step::Done(Done::default());
        }
        let allowed = self.rate.take(now);
        if !allowed && !self.strikes.take(now) {
            return Step::Done(Done {
                close: Some(Close::Rate),
                ..Done::default()
            });
        }
        let text = match frame {
            Frame::Ping | Frame::Pong => return Step::Done(Done::default()),
            Frame::Text(text) => text,
            Frame::Binary => "",
        };
        let request = Request::parse(text, || self.make_id());
        if !allowed {
            let id = request.map_or_else(|(made, _)| made, |request| request.id);
            let error = format!("rate limiting threshold hit for {}!", self.id);
            return refuse(Outcome::RateLimited, &id, error);
        }
        let request = match (request, frame) {
            (Err((id, _)), Frame::Binary) => {
                let error = "invalid JSON: binary frame, expected text";
                return refuse(Outcome::Malformed, &id, error.into());
            }
            (Err((id, error)), _) => return refuse(Outcome::Malformed, &id, error),
            (Ok(request), _) => request,
        };
        let token = match request.token() {
            Ok(token) => token,
            Err(error) => return refuse(Outcome::Unauthenticated, &request.id, error),
        };
        let token_hash = token.as_ref().map(|token| self.hasher.hash_one(token));
        match (token, token_hash, &self.login) {
            (_, hash, Some(login)) if hash.is_none_or(|hash| hash == login.token_hash) => {
                let login = login.clone();
                self.command(request, login)
            }
            (Some(token), Some(token_hash), _) => {
                self.pending = Some(Box::new(Pending::Identity {
                    request,
                    token_hash,
                }));
                Step::Authenticate(token)
            }
            _ => refuse(
                Outcome::Unauthenticated,
                &request.id,
                request.token_required(),
            ),
        }
    }

    /// The answer to [`Step::Authenticate`]: who it is, or a short reason that holds nothing of the
    /// token. `unix` is the time of `now`.
    pub fn on_identity(
        &mut self,
        verdict: Result<Identity, String>,
        now: Instant,
        unix: u64,
    ) -> Step {
        let Some(Pending::Identity {
            request,
            token_hash,
        }) = self.answered()
        else {
            return Step::Done(Done::default());
        };
        let fresh = verdict.map(|identity| {
            let left = identity
                .expires_at
                .map(|at| Duration::from_secs(at.saturating_sub(unix)));
            let expires = left.and_then(|left| now.checked_add(left));
            Login {
                identity,
                token_hash,
                expires,
            }
        });
        let login = match (fresh, &self.login) {
            (Ok(fresh), None) => fresh,
            (Err(reason), None) => {
                let error = format!("failed to authenticate token: {reason}");
                return refuse(Outcome::Unauthenticated, &request.id, error);
            }
            // The session goes on as before: only the first token is required to be good.
            (Err(_), Some(login)) => login.clone(),
            (Ok(fresh), Some(login)) if fresh.identity.account != login.identity.account => {
                let error = "token belongs to another account";
                return refuse(Outcome::Invalid, &request.id, error.into());
            }
            (Ok(fresh), Some(login)) if outlives(&fresh, login) => fresh,
            (Ok(_), Some(login)) => login.clone(),
        };
        self.command(request, login)
    }

    /// The answer to [`Step::Authorise`]: the account's data, or the protocol's error text.
    pub fn on_access(&mut self, verdict: Result<Account, String>) -> Step {
        let Some(Pending::Access {
            request,
            login,
            arguments,
            plans,
            remove,
        }) = self.answered()
        else {
            return Step::Done(Done::default());
        };
        let account = match verdict {
            Ok(account) => account,
            Err(error) => return refuse(Outcome::Unauthorised, &request.id, error),
        };
        let mut wanted = Vec::new();
        let mut errors = Vec::new();
        for plan in &plans {
            let denied = plan
                .superduper_error()
                .filter(|_| !login.identity.superduper);
            let expanded = match denied {
                Some(error) => Err(error.to_owned()),
                None => self
                    .catalogue
                    .expand(plan, &account, self.limits.kazoo_listing),
            };
            match expanded {
                Ok(subscriptions) => wanted.extend(subscriptions),
                Err(error) => errors.push(arguments.named(plan.binding(), &error)),
            }
        }
        if !errors.is_empty() {
            return refuse_all(Outcome::Invalid, &request.id, errors);
        }
        if remove {
            let bindings: Vec<&str> = plans.iter().map(Plan::binding).collect();
            let removed = self.table.remove(&account.scope, &bindings);
            return self.unsubscribed(&request, login, removed);
        }
        let added = self.table.missing(wanted);
        let most = self.limits.max_subscriptions;
        if self.table.len() + added.len() > most {
            return too_many(&request.id, most);
        }
        if added.is_empty() {
            return self.subscribed(&request, login, &account, Vec::new());
        }
        self.pending = Some(Box::new(Pending::Listening {
            request,
            login,
            account,
        }));
        Step::Listen(added)
    }

    /// The answer to [`Step::Listen`]: the same subscriptions, for which events come now, or why not.
    pub fn on_listening(&mut self, verdict: Result<Vec<Arc<Subscription>>, Denied>) -> Step {
        let Some(Pending::Listening {
            request,
            login,
            account,
        }) = self.answered()
        else {
            return Step::Done(Done::default());
        };
        match verdict {
            Ok(added) => self.subscribed(&request, login, &account, added),
            Err(denied) => refuse(denied.outcome, &request.id, denied.error),
        }
    }

    /// When [`Session::on_deadline`] is due next.
    pub fn next_deadline(&self) -> Instant {
        let login = (self.login.is_none()).then(|| self.opened + self.limits.login);
        let expiry = self.login.as_ref().and_then(|login| login.expires);
        let ping = self.limits.ping.map(|every| self.last_ping + every);
        let idle = self.last_frame + self.limits.idle;
        [login, expiry, ping]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min)
    }

    /// The clock has come to [`Session::next_deadline`].
    pub fn on_deadline(&mut self, now: Instant) -> Tick {
        match &self.login {
            None if now >= self.opened + self.limits.login => {
                return Tick::Close(Close::Login(self.limits.login));
            }
            Some(login) if login.expires.is_some_and(|at| now >= at) => {
                return Tick::Close(Close::Expired);
            }
            _ => {}
        }
        if now >= self.last_frame + self.limits.idle {
            return Tick::Close(Close::Idle(self.limits.idle));
        }
        match self.limits.ping {
            Some(every) if now >= self.last_ping + every => {
                if self.pong_due {
                    return Tick::Close(Close::Dead);
                }
                self.last_ping = now;
                self.pong_due = true;
                self.pong_owed = true;
                Tick::Ping
            }
            _ => Tick::Nothing,
        }
    }

    /// The socket is gone: everything that it was subscribed to.
    pub fn end(&mut self) -> Vec<Arc<Subscription>> {
        self.table.clear()
    }

    fn answered(&mut self) -> Option<Pending> {
        self.pending.take().map(|pending| *pending)
    }

    /// Whether a message with a good token has succeeded.
    pub fn is_logged_in(&self) -> bool {
        self.login.is_some()
    }

    /// What others have to know of it now.
    pub fn listing(&self) -> Listing {
        Listing {
            identity: self.login.as_ref().map(|login| login.identity.clone()),
            accounts: self.table.accounts().to_vec(),
            bindings: self.table.listing(self.limits.kazoo_listing),
            name: self.notes.name.clone(),
            metadata: self.notes.metadata.clone(),
        }
    }

    fn command(&mut self, request: Request, login: Login) -> Step {
        let action = request
            .action()
            .and_then(|action| request.notes().map(|_| action));
        let remove = match action {
            Err(error) => return refuse(Outcome::Invalid, &request.id, error),
            Ok("ping") => {
                let pong = Success::Pong { response: "pong" };
                return self.succeed(&request, login, Done::default(), |_| pong);
            }
            Ok("unsubscribe") if request.is_bare() => {
                let removed = self.table.clear();
                return self.unsubscribed(&request, login, removed);
            }
            Ok("subscribe") => false,
            Ok("unsubscribe") => true,
            Ok(other) => {
                let error = format!("unknown action {}", wire::echo(other));
                return refuse(Outcome::Invalid, &request.id, error);
            }
        };
        let arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(error) => return refuse(Outcome::Invalid, &request.id, error),
        };
        // Before any work that grows with their number.
        let most = self.limits.max_subscriptions;
        if arguments.bindings.len() > most {
            let error = format!("invalid bindings: at most {most} in one message");
            return refuse(SUBSCRIPTIONS, &request.id, error);
        }
        let mut plans = Vec::new();
        let mut errors = Vec::new();
        for binding in &arguments.bindings {
            match self.catalogue.validate(binding) {
                // What a stopped category left can still be taken back.
                Ok(plan) if !remove && !self.catalogue.is_started(&plan) => {
                    errors.push(arguments.named(binding, NOT_AVAILABLE));
                }
                Ok(plan) => plans.push(plan),
                Err(error) => errors.push(arguments.named(binding, &error)),
            }
        }
        if !errors.is_empty() {
            return refuse_all(Outcome::Invalid, &request.id, errors);
        }
        let step = Step::Authorise(login.identity.clone(), arguments.account.clone());
        self.pending = Some(Box::new(Pending::Access {
            request,
            login,
            arguments,
            plans,
            remove,
        }));
        step
    }

    fn subscribed(
        &mut self,
        request: &Request,
        login: Login,
        account: &Account,
        bind: Vec<Arc<Subscription>>,
    ) -> Step {
        let added = bind.clone();
        let done = Done {
            bind,
            ..Done::default()
        };
        self.succeed(request, login, done, |session| {
            session.table.add(account, &added);
            Success::Subscribed {
                subscribed: session.table.listing(session.limits.kazoo_listing),
            }
        })
    }

    fn unsubscribed(
        &mut self,
        request: &Request,
        login: Login,
        unbind: Vec<Arc<Subscription>>,
    ) -> Step {
        let kazoo = self.limits.kazoo_listing;
        let unsubscribed = listing(&unbind, kazoo);
        let done = Done {
            unbind,
            ..Done::default()
        };
        self.succeed(request, login, done, |session| Success::Unsubscribed {
            unsubscribed,
            subscribed: session.table.listing(kazoo),
        })
    }

    /// The one place where a message changes the session.
    fn succeed(
        &mut self,
        request: &Request,
        login: Login,
        done: Done,
        command: impl FnOnce(&mut Self) -> Success,
    ) -> Step {
        // Refused before the command, if bad.
        let notes = request.notes().unwrap_or_default();
        let held = self.login.as_ref().map(|login| login.token_hash);
        let relist = held != Some(login.token_hash)
            || notes != Notes::default()
            || !(done.bind.is_empty() && done.unbind.is_empty());
        self.login = Some(login);
        if notes.name.is_some() {
            self.notes.name = notes.name;
        }
        if notes.metadata.is_some() {
            self.notes.metadata = notes.metadata;
        }
        let success = command(self);
        Step::Done(Done {
            reply: Some(wire::success(&request.id, success)),
            relist,
            outcome: Outcome::Success,
            ..done
        })
    }

    /// 32 hex digits for a request without an id. Not a secret: it only has to be new.
    fn make_id(&mut self) -> String {
        self.made_ids += 1;
        let high = self.hasher.hash_one((self.id.as_str(), self.made_ids));
        let low = self.hasher.hash_one((self.made_ids, high));
        format!("{high:016x}{low:016x}")
    }
}

impl Arguments {
    /// An error as the client sees it: with its binding, where the request named several.
    fn named(&self, binding: &str, error: &str) -> String {
        if self.several {
            format!("{}: {error}", wire::echo(binding))
        } else {
            error.to_owned()
        }
    }
}

fn outlives(fresh: &Login, login: &Login) -> bool {
    match (fresh.expires, login.expires) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(fresh), Some(current)) => fresh > current,
    }
}

fn too_many(request_id: &str, most: usize) -> Step {
    let error = format!("too many subscriptions: at most {most} for a socket");
    refuse(SUBSCRIPTIONS, request_id, error)
}

fn refuse(outcome: Outcome, request_id: &str, error: String) -> Step {
    refuse_all(outcome, request_id, vec![error])
}

fn refuse_all(outcome: Outcome, request_id: &str, mut errors: Vec<String>) -> Step {
    if let Some(more) = errors
        .len()
        .checked_sub(MAX_ERRORS)
        .filter(|more| *more > 0)
    {
        errors.truncate(MAX_ERRORS);
        errors.push(format!("and {more} more"));
    }
    Step::Done(Done {
        reply: Some(wire::error(request_id, &errors)),
        outcome,
        ..Done::default()
    })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
