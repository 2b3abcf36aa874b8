//! A directive of the tests alone: it panics on the way down or while waiting, waits on another core, asks for detached work or
//! blocks its thread, as the first label says. It holds a value that is published, which no query ever looks at.

use std::cell::RefCell;
use std::sync::Arc;

use crate::control::{Published, Subscriber};
use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, Plugin, Query, SetupCx, TaskCx};
use crate::wire::name::NameBuf;

/// See the module.
pub struct Panicker {
    /// The next core.
    other: usize,
    held: RefCell<Subscriber<String>>,
}

impl Default for Panicker {
    fn default() -> Self {
        Self {
            other: 0,
            held: RefCell::new(Published::new(Arc::default()).subscribe()),
        }
    }
}

impl Plugin for Panicker {
    type Config = Published<String>;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Published<String>, SetupError> {
        while args.next() {}
        Ok(Published::new(Arc::default()))
    }

    fn open(config: &Arc<Published<String>>, core: &OpenCx<'_>) -> Self {
        Self {
            other: (core.core + 1) % core.cores,
            held: RefCell::new(config.subscribe()),
        }
    }

    fn refresh(&self) {
        self.held.borrow_mut().refresh();
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        match query.name() {
            [4, b'd', b'o', b'w', b'n', ..] => panic!("down"),
            [4, b'w', b'a', b'i', b't', ..] => Flow::Park,
            [4, b'a', b'w', b'a', b'y', ..] => {
                query.home = Some(self.other as u16);
                Flow::Park
            }
            [4, b'l', b'o', b'o', b'k', ..] => Flow::Park,
            [4, b'h', b'o', b'l', b'd', ..] => {
                std::thread::sleep(std::time::Duration::from_secs(10));
                Flow::Drop
            }
            [4, b'b', b'a', b'c', b'k', ..] => {
                query.background = Some(7);
                query.respond();
                Flow::Reply
            }
            _ => {
                query.respond();
                Flow::Reply
            }
        }
    }

    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        assert!(query.name().starts_with(b"\x04look"), "wait");
        let target = NameBuf::from_text("back.example").unwrap();
        *query = *cx.lookup(query, &target, query.qtype).await;
        Flow::Reply
    }
}
