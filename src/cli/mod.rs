//! The command line, and where the Corefile comes from.
//!
//! Runs on: control thread.
//!
//! **Invariant**: `parse` does no I/O: what to print and the exit code are values.

#[cfg(feature = "kubernetes")]
mod config_map;
pub mod flag;
pub mod migrate;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use self::flag::{Action, Flag};
use crate::corefile::import;
use crate::runtime::Wish;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags {
    /// File to load; empty for `./Corefile`, `stdin` for standard input.
    pub conf: String,
    /// CPUs to run on, as `runtime::cores::plan` reads them; `None` for all that the process may use.
    pub cores: Option<String>,
    /// Port of plain DNS for keys that name none.
    pub dns_port: u16,
    /// File to write the process number to; empty for none.
    pub pidfile: String,
    /// Print the names of the directives and exit.
    pub plugins: bool,
    /// Print neither listeners nor version at start.
    pub quiet: bool,
    /// Backend of the task threads.
    pub runtime: Wish,
    /// File with settings of the cores; empty for none.
    pub tune: String,
    /// Print the version and exit.
    pub version: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            conf: String::new(),
            cores: None,
            dns_port: DNS_PORT,
            pidfile: String::new(),
            plugins: false,
            quiet: false,
            runtime: Wish::Auto,
            tune: String::new(),
            version: false,
        }
    }
}

/// The process ends without serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: u8,
    /// What to write to standard output.
    pub stdout: String,
    /// What to write to standard error.
    pub stderr: String,
}

/// A Corefile before it is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name of its file, as errors print it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Input {
    /// The configuration of a process that was given none.
    pub fn builtin(dns_port: u16) -> Self {
        Self {
            name: DEFAULT_FILE.to_owned(),
            text: format!(".:{dns_port} {{\nwhoami\nlog\n}}\n"),
        }
    }
}

/// Reads the arguments of the process, its own name first.
///
/// `Err` ends the process: code 0 for `-h`, 1 for arguments that are no flags, 2 for a bad flag.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Flags, Exit> {
    let mut args = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned());
    let program = args
        .next()
        .unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned());
    let mut flags = Flags::default();
    let words = flag::parse(FLAGS, &program, &mut flags, args)?;
    if words.is_empty() {
        return Ok(flags);
    }
    Err(Exit {
        code: 1,
        stdout: String::new(),
        stderr: format!("extra command line arguments: [{}]\n", words.join(" ")),
    })
}

/// Finds the Corefile: the file of `-conf`, else `./Corefile`, else the built-in one.
///
/// A file without server blocks is replaced by the built-in configuration too, but only its parser can tell.
pub fn load(flags: &Flags) -> Result<Input, String> {
    match flags.conf.as_str() {
        "" => {}
        "stdin" => {
            let input = load_stdin().map_err(|error| format!("{VIA_FLAG}{error}"))?;
            if let Some(input) = input {
                return Ok(input);
            }
        }
        name => {
            let text = import::read_file(name);
            let text = text.map_err(|error| format!("{VIA_FLAG}{}", error.message))?;
            let name = name.to_owned();
            return Ok(Input { name, text });
        }
    }
    match import::read_file(DEFAULT_FILE) {
        Ok(text) => Ok(Input {
            name: DEFAULT_FILE.to_owned(),
            text,
        }),
        Err(error) if error.is_missing => Ok(Input::builtin(flags.dns_port)),
        Err(error) => Err(error.message),
    }
}

/// Standard input, unless it is a terminal or another character device.
fn load_stdin() -> Result<Option<Input>, String> {
    let name = "/dev/stdin";
    let fail = |error: io::Error| format!("read {name}: {}", import::go_io_error(&error));
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let stdin = File::from(stdin);
    if stdin.metadata().map_err(fail)?.file_type().is_char_device() {
        return Ok(None);
    }
    let text = import::read_text(stdin).map_err(fail)?;
    let name = name.to_owned();
    Ok(Some(Input { name, text }))
}

// === flags ===

/// In the order of the help.
const FLAGS: &[Flag<Flags>] = &[
    Flag {
        name: "conf",
        help: "file to load, or \"stdin\"; ./Corefile if not given",
        action: Action::Value {
            kind: "file",
            default: "",
            set: |flags, text| {
                flags.conf = text.to_owned();
                Ok(())
            },
        },
    },
    Flag {
        name: "cores",
        help: "CPUs to run on, one data core each, like 0,2-3; all that the process may use if not given",
        action: Action::Value {
            kind: "list",
            default: "",
            set: |flags, text| {
                flags.cores = (!text.is_empty()).then(|| text.to_owned());
                Ok(())
            },
        },
    },
    Flag {
        name: "dns.port",
        help: "port of plain DNS where a server block names none",
        action: Action::Value {
            kind: "port",
            default: "53",
            set: set_dns_port,
        },
    },
    Flag {
        name: "p",
        help: "the same as -dns.port",
        action: Action::Value {
            kind: "port",
            default: "53",
            set: set_dns_port,
        },
    },
    Flag {
        name: "pidfile",
        help: "file to write the process number to",
        action: Action::Value {
            kind: "file",
            default: "",
            set: |flags, text| {
                flags.pidfile = text.to_owned();
                Ok(())
            },
        },
    },
    Flag {
        name: "plugins",
        help: "print the names of the directives and exit",
        action: Action::Bool(|flags, on| flags.plugins = on),
    },
    Flag {
        name: "quiet",
        help: "print neither listeners nor version at start",
        action: Action::Bool(|flags, on| flags.quiet = on),
    },
    Flag {
        name: "runtime",
        help: "what waits for TCP and upstreams: glommio (io_uring), epoll, or auto",
        action: Action::Value {
            kind: "name",
            default: "auto",
            set: |flags, text| {
                flags.runtime = text.parse()?;
                Ok(())
            },
        },
    },
    Flag {
        name: "tune",
        help: "file with settings of the cores; see also: percoredns tune -h",
        action: Action::Value {
            kind: "file",
            default: "",
            set: |flags, text| {
                flags.tune = text.to_owned();
                Ok(())
            },
        },
    },
    Flag {
        name: "version",
        help: "print the version and exit",
        action: Action::Bool(|flags, on| flags.version = on),
    },
];

fn set_dns_port(flags: &mut Flags, text: &str) -> Result<(), String> {
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err("parse error".to_owned());
    }
    flags.dns_port = text.parse().map_err(|_| "value out of range".to_owned())?;
    Ok(())
}

const DNS_PORT: u16 = 53;
const DEFAULT_FILE: &str = "Corefile";
/// CoreDNS's words, which name the parser library's own file.
const VIA_FLAG: &str = "loading Caddyfile via flag: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Flags, Exit> {
        parse(
            std::iter::once("percoredns")
                .chain(args.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        #[track_caller]
        fn check(args: &[&str], change: fn(&mut Flags)) {
            let mut want = Flags::default();
            change(&mut want);
            assert_eq!(read(args), Ok(want), "{args:?}");
        }
        check(&[], |_| {});
        check(&["-conf", "x"], |flags| flags.conf = "x".to_owned());
        check(&["--conf=x=y"], |flags| flags.conf = "x=y".to_owned());
        check(&["-conf="], |_| {});
        check(&["-conf", "-quiet"], |flags| {
            flags.conf = "-quiet".to_owned()
        });
        check(&["-p", "1053", "-quiet"], |flags| {
            flags.dns_port = 1053;
            flags.quiet = true;
        });
        check(&["-p", "1", "-dns.port=2"], |flags| flags.dns_port = 2);
        check(&["-quiet=false", "--version=T", "-plugins"], |flags| {
            flags.version = true;
            flags.plugins = true;
        });
        check(
            &[
                "-pidfile", "/run/x", "-cores", "0,2-3", "-runtime", "epoll", "-tune=t",
            ],
            |flags| {
                flags.pidfile = "/run/x".to_owned();
                flags.cores = Some("0,2-3".to_owned());
                flags.runtime = Wish::Epoll;
                flags.tune = "t".to_owned();
            },
        );
        check(&["-quiet", "--"], |flags| flags.quiet = true);
    }

    #[test]
    fn bad_flags_print_the_usage_and_exit_with_2() {
        #[track_caller]
        fn check(args: &[&str], want: &str) {
            let exit = read(args).unwrap_err();
            assert_eq!((exit.code, exit.stdout.as_str()), (2, ""), "{args:?}");
            let (message, usage) = exit.stderr.split_once('\n').unwrap();
            assert_eq!(message, want);
            assert!(
                usage.starts_with("Usage of percoredns:\n  -conf file\n    \t"),
                "{usage}"
            );
        }
        check(&["-x"], "flag provided but not defined: -x");
        check(&["--x=1"], "flag provided but not defined: -x");
        check(&["---conf"], "bad flag syntax: ---conf");
        check(&["-=x"], "bad flag syntax: -=x");
        check(&["-conf"], "flag needs an argument: -conf");
        check(
            &["-quiet=maybe"],
            "invalid boolean value \"maybe\" for -quiet: parse error",
        );
        check(
            &["-p", "dns"],
            "invalid value \"dns\" for flag -p: parse error",
        );
        check(
            &["-p=65536"],
            "invalid value \"65536\" for flag -p: value out of range",
        );
        check(
            &["-runtime=x"],
            "invalid value \"x\" for flag -runtime: unknown backend 'x': use auto, glommio or epoll",
        );
    }

    #[test]
    fn help_is_no_error_and_names_every_flag() {
        for arg in ["-h", "--help"] {
            let exit = read(&[arg]).unwrap_err();
            assert_eq!((exit.code, exit.stdout.as_str()), (0, ""));
            for flag in FLAGS {
                assert!(
                    exit.stderr.contains(&format!("  -{}", flag.name)),
                    "{}",
                    flag.name
                );
            }
            assert!(
                exit.stderr
                    .contains("  -p port\n    \tthe same as -dns.port (default \"53\")\n")
            );
        }
        assert!(FLAGS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn other_arguments_are_refused() {
        for (args, want) in [
            (&["start"][..], "[start]"),
            (&["-quiet", "false", "-conf", "x"], "[false -conf x]"),
            (&["-"], "[-]"),
            (&["--", "-quiet"], "[-quiet]"),
        ] {
            let exit = read(args).unwrap_err();
            assert_eq!(exit.code, 1);
            assert_eq!(
                exit.stderr,
                format!("extra command line arguments: {want}\n")
            );
        }
    }

    #[test]
    fn the_corefile_comes_from_the_flag() {
        let flags = |conf: &str| Flags {
            conf: conf.to_owned(),
            ..Flags::default()
        };
        let input = load(&flags("Cargo.toml")).unwrap();
        assert_eq!(input.name, "Cargo.toml");
        assert!(input.text.contains("[package]"));
        assert_eq!(
            load(&flags("/missing/Corefile")).unwrap_err(),
            "loading Caddyfile via flag: open /missing/Corefile: no such file or directory"
        );
        assert_eq!(
            load(&flags("src")).unwrap_err(),
            "loading Caddyfile via flag: read src: is a directory"
        );
        assert_eq!(Input::builtin(1053).text, ".:1053 {\nwhoami\nlog\n}\n");
    }
}
