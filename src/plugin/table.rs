//! The macro behind the table: one list gives names, parser dispatch, instances and static dispatch.

/// Rows of `"directive" => module::Plugin`. A row may carry a `#[cfg(feature = "...")]`.
macro_rules! plugins {
    ($($(#[$attr:meta])* $name:literal => $module:ident :: $plugin:ident,)*) => {
        /// Names of the directives that are built, in table order.
        pub const BUILT: &[&str] = &[$($(#[$attr])* $name,)*];

        /// The parsed configuration of one directive of one block.
        #[derive(Clone)]
        #[allow(missing_docs)] // one variant for each row, named as its plugin
        pub enum AnyConfig {
            $($(#[$attr])* $plugin(Arc<<$module::$plugin as Plugin>::Config>),)*
        }

        /// One thread's instance of any plugin; calls are dispatched by `match`.
        #[allow(missing_docs)] // one variant for each row, named as its plugin
        #[allow(clippy::large_enum_variant)] // a chain is a short list, made once
        #[repr(u8)] // a tag of its own; one that hides in a plugin's field takes ten instructions to read, thrice an answer
        pub enum AnyPlugin {
            $($(#[$attr])* $plugin($module::$plugin),)*
        }

        /// Runs the `setup` of a built directive; `None` for a name that has no row.
        pub fn setup(name: &str, args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Option<Result<AnyConfig, SetupError>> {
            match name {
                $($(#[$attr])* $name => {
                    Some(<$module::$plugin as Plugin>::setup(args, cx).map(|config| AnyConfig::$plugin(Arc::new(config))))
                })*
                _ => None,
            }
        }

        impl AnyConfig {
            /// The directive's name.
            pub fn name(&self) -> &'static str {
                match self { $($(#[$attr])* AnyConfig::$plugin(_) => $name,)* }
            }

            /// Whether it has a place in the chain.
            pub fn is_handler(&self) -> bool {
                match self { $($(#[$attr])* AnyConfig::$plugin(_) => <$module::$plugin as Plugin>::HANDLER,)* }
            }

            /// Makes the instance of one thread.
            pub fn open(&self, core: &OpenCx<'_>) -> AnyPlugin {
                match self {
                    $($(#[$attr])* AnyConfig::$plugin(config) => AnyPlugin::$plugin(<$module::$plugin as Plugin>::open(config, core)),)*
                }
            }
        }

        impl AnyPlugin {
            /// The directive's name.
            pub fn name(&self) -> &'static str {
                match self { $($(#[$attr])* AnyPlugin::$plugin(_) => $name,)* }
            }
        }

        impl AnyPlugin {
            fn on_query(&self, query: &mut Query) -> Flow {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.on_query(query),)* }
            }

            fn on_reply(&self, query: &mut Query) -> Flow {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.on_reply(query),)* }
            }

            // What waits is boxed row by row, so that a query that waits takes the room of its own plugin and not of the largest.

            fn wait_query<'a>(&'a self, query: &'a mut Query, cx: &'a TaskCx) -> Waiting<'a, Flow> {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => Box::pin(plugin.wait_query(query, cx)),)* }
            }

            fn wait_reply<'a>(&'a self, query: &'a mut Query, cx: &'a TaskCx) -> Waiting<'a, ()> {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => Box::pin(plugin.wait_reply(query, cx)),)* }
            }

            fn background<'a>(&'a self, query: &'a mut Query, cx: &'a TaskCx) -> Waiting<'a, ()> {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => Box::pin(plugin.background(query, cx)),)* }
            }

            fn on_metadata(&self, query: &mut Query) {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.on_metadata(query),)* }
            }

            fn plain_part(&self) -> PlainPart {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.plain_part(),)* }
            }

            fn plain_prefetch(&self, plain: &Plain, what: Fetch) {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.plain_prefetch(plain, what),)* }
            }

            fn plain_query<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> PlainFlow {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.plain_query(query, out),)* }
            }

            fn plain_reply(&self, query: &PlainQuery<'_>, out: &mut [u8]) -> bool {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.plain_reply(query, out),)* }
            }

            fn plain_done(&self, query: &PlainQuery<'_>, reply: &[u8]) {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.plain_done(query, reply),)* }
            }

            fn refresh(&self) {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.refresh(),)* }
            }

            fn filter(&self, query: &mut Query) -> bool {
                match self { $($(#[$attr])* AnyPlugin::$plugin(plugin) => plugin.filter(query),)* }
            }
        }
    };
}
