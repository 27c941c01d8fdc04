//! What was asked, and who has not answered yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::message::Answer;

/// When a question is answered before all have spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enough {
    /// Never.
    Never,
    /// With one socket.
    Socket,
    /// When somebody closed it.
    Closed,
}

/// What came of a question.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) answers: Vec<Answer>,
    /// Names of those who should have answered.
    pub(super) missing: Vec<String>,
}

/// All questions under way, by `Msg-ID`.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<HashMap<String, Asked>>);

#[derive(Debug)]
struct Asked {
    waiting: Vec<String>,
    /// Answers without a node's name: they can only be counted.
    nameless: usize,
    enough: Enough,
    answers: Vec<Answer>,
    done: Option<oneshot::Sender<()>>,
}

/// One question under way; forgotten when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    questions: Arc<Questions>,
    id: String,
    done: oneshot::Receiver<()>,
}

impl Questions {
    /// Begins a question to nodes of these names.
    pub(super) fn ask(self: &Arc<Self>, id: String, nodes: Vec<String>, enough: Enough) -> Ticket {
        let (sender, done) = oneshot::channel();
        let asked = Asked {
            waiting: nodes,
            nameless: 0,
            enough,
            answers: Vec::new(),
            done: Some(sender),
        };
        self.lock().insert(id.clone(), asked);
        Ticket {
            questions: self.clone(),
            id,
            done,
        }
    }

    /// Somebody answers; what nobody asked (any more) is ignored.
    pub(super) fn answered(&self, answer: Answer) {
        let mut all = self.lock();
        let Some(asked) = all.get_mut(&answer.id) else {
            return;
        };
        match &answer.node {
            Some(node) => {
                if let Some(at) = asked.waiting.iter().position(|name| name == node) {
                    asked.waiting.swap_remove(at);
                }
            }
            None => asked.nameless += 1,
        }
        let enough = match asked.enough {
            Enough::Never => false,
            Enough::Socket => !answer.sockets.is_empty(),
            Enough::Closed => answer.closed,
        };
        asked.answers.push(answer);
        if enough || asked.waiting.len() <= asked.nameless {
            asked.waiting.clear();
            asked.done = None;
        }
    }

    /// No more answers can come: all questions end with what they have.
    pub(super) fn give_up(&self) {
        for asked in self.lock().values_mut() {
            asked.done = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits until no more answers are needed, or none can come.
    pub(super) async fn done(&mut self) {
        // The sender says it by going away.
        let _ = (&mut self.done).await;
    }

    /// Ends the question with what has come.
    pub(super) fn outcome(self) -> Outcome {
        let asked = self.questions.lock().remove(&self.id);
        asked.map_or_else(Outcome::default, |asked| Outcome {
            answers: asked.answers,
            missing: asked.waiting,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use serde_json::Map;

    fn ask(nodes: &[&str], enough: Enough) -> (Arc<Questions>, Ticket) {
        let questions = Arc::new(Questions::default());
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        let ticket = questions.ask("1".into(), nodes, enough);
        (questions, ticket)
    }

    fn answer(node: &str, sockets: usize) -> Answer {
        Answer {
            id: "1".into(),
            node: (!node.is_empty()).then(|| node.to_owned()),
            sockets: vec![Map::new(); sockets],
            closed: false,
        }
    }

    fn is_done(ticket: &mut Ticket) -> bool {
        ticket.done().now_or_never().is_some()
    }

    #[test]
    fn ends_when_all_have_answered() {
        let (questions, mut ticket) = ask(&["a", "b", "b"], Enough::Never);
        for node in ["a", "a", "stranger", "b"] {
            questions.answered(answer(node, 1));
            assert!(!is_done(&mut ticket), "{node}");
        }
        questions.answered(answer("b", 0));
        assert!(is_done(&mut ticket));
        let outcome = ticket.outcome();
        assert_eq!(outcome.answers.len(), 5);
        assert!(outcome.missing.is_empty());
        assert!(questions.lock().is_empty());
    }

    #[test]
    fn ends_with_the_first_that_is_enough() {
        let (questions, mut ticket) = ask(&["a", "b"], Enough::Socket);
        questions.answered(answer("a", 0));
        assert!(!is_done(&mut ticket));
        let (questions, mut ticket) = ask(&["a", "b"], Enough::Socket);
        questions.answered(answer("a", 1));
        assert!(is_done(&mut ticket));
        assert!(ticket.outcome().missing.is_empty());
        let (questions, mut ticket) = ask(&["a", "b"], Enough::Closed);
        questions.answered(Answer {
            closed: true,
            ..answer("a", 0)
        });
        assert!(is_done(&mut ticket));
    }

    #[test]
    fn nameless_answers_are_counted() {
        let (questions, mut ticket) = ask(&["a", "b"], Enough::Never);
        questions.answered(answer("", 1));
        assert!(!is_done(&mut ticket));
        questions.answered(answer("b", 1));
        assert!(is_done(&mut ticket));
        assert!(ticket.outcome().missing.is_empty());
    }

    #[test]
    fn says_who_is_missing() {
        let (questions, mut ticket) = ask(&["a", "b"], Enough::Never);
        questions.answered(answer("a", 1));
        questions.answered(Answer {
            id: "2".into(),
            ..answer("b", 1)
        });
        questions.give_up();
        assert!(is_done(&mut ticket));
        let outcome = ticket.outcome();
        assert_eq!(
            (outcome.answers.len(), &*outcome.missing),
            (1, &["b".to_owned()][..])
        );
        let (questions, ticket) = ask(&["a"], Enough::Never);
        drop(ticket);
        assert!(questions.lock().is_empty());
    }
}
