//! One directive alone: set up from its Corefile lines, opened for one thread, and fed with queries.

use std::sync::Arc;

use crate::corefile::{self, Args, Known, RealSource, SetupError, ZoneName};
use crate::plugin::{BlockSettings, Carry, Lifecycle, OpenCx, Plugin, Query, Role, SetupCx, Site};
use crate::tune::{CoreSettings, Settings};
use crate::wire::query::{Parsed, Verdict, parse};
use crate::wire::{flag, name::NameBuf};

/// A directive that was set up.
pub struct Directive<P: Plugin> {
    /// What `setup` returned.
    pub config: Arc<P::Config>,
    /// What it wrote for its listeners.
    pub settings: BlockSettings,
    /// What it wants to happen beside the chain.
    pub life: Lifecycle,
    zones: Vec<ZoneName>,
    sites: Vec<Site>,
}

/// Sets a directive up from its lines, in the block `. { ... }` that starts on line 1 of the file `Corefile`; other
/// directives among the lines are ignored.
pub fn set_up<P: Plugin>(name: &str, lines: &str) -> Result<Directive<P>, SetupError> {
    set_up_in::<P>(".", name, lines)
}

/// As [`set_up`], in a block with these keys.
pub fn set_up_in<P: Plugin>(
    keys: &str,
    name: &str,
    lines: &str,
) -> Result<Directive<P>, SetupError> {
    let text = format!("{keys} {{\n{lines}\n}}\n");
    let file = corefile::parse("Corefile", &text, &|_| Known::Yes, &RealSource)?;
    let block = file.blocks.first().expect("one block");
    let directive = block.directive(name).expect("the directive");
    let zones: Vec<ZoneName> = block
        .keys
        .iter()
        .filter_map(|key| ZoneName::new(&key.text))
        .collect();
    let (mut settings, mut life) = (BlockSettings::default(), Lifecycle::default());
    let mut cx = SetupCx {
        zones: &zones,
        block_index: 0,
        block_digest: "test",
        digest: &file.digest(),
        settings: &mut settings,
        life: &mut life,
        carry: &Carry::default(),
        cores: 1,
        directives: &[],
        default_port: 53,
        tune: &Settings::floating(1),
    };
    let config = Arc::new(P::setup(&mut Args::new(directive), &mut cx)?);
    let site = |zone: &ZoneName| Site {
        server: "dns://:53".into(),
        zone: zone.to_string(),
        view: String::new(),
    };
    let sites = zones.iter().map(site).collect();
    Ok(Directive {
        config,
        settings,
        life,
        zones,
        sites,
    })
}

impl<P: Plugin> Directive<P> {
    /// The instance of the first core's task thread, in row 0 of a chain of these handlers.
    pub fn open(&self, handlers: &[&'static str]) -> P {
        let cx = OpenCx {
            core: 0,
            cores: 1,
            role: Role::Task,
            row: 0,
            sites: &self.sites,
            zones: &self.zones,
            handlers,
            tune: &CoreSettings::default(),
        };
        P::open(&self.config, &cx)
    }

    /// Gives the block other sites than one for each zone.
    pub fn set_sites(&mut self, sites: Vec<Site>) {
        self.sites = sites;
    }
}

/// The text of the error that these lines cause.
pub fn set_up_error<P: Plugin>(name: &str, lines: &str) -> String {
    match set_up::<P>(name, lines) {
        Ok(_) => panic!("accepted: {lines}"),
        Err(error) => error.to_string(),
    }
}

/// A query with RD set and without EDNS, as it comes from 10.240.0.1:40212 over UDP.
pub fn query(name: &str, qtype: u16) -> Query {
    let mut query = Query::default();
    begin(&mut query, name, qtype);
    query
}

/// Makes `query` the next query of its thread.
pub fn begin(query: &mut Query, name: &str, qtype: u16) {
    let mut message = vec![0x71, 0x50];
    for word in [flag::RD, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(NameBuf::from_text(name).expect("a name").as_wire());
    message.extend(qtype.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    let mut parsed = Parsed::default();
    assert_eq!(parse(&message, &mut parsed), Verdict::Accept);
    query.begin(&mut parsed, message.len());
    query.peer = std::net::SocketAddr::from(([10, 240, 0, 1], 40212)).into();
    query.local = std::net::SocketAddr::from(([127, 0, 0, 1], 53)).into();
}
