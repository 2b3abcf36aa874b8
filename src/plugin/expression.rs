//! A query as the environment of an expression (*view*, *template*).

use crate::lang::expr::{Env, Value, incidr};
use crate::plugin::Query;
use crate::wire::name::Text;
use crate::wire::types::{self, Class, Type};

/// Gives [`DNS_FUNCTIONS`](crate::lang::expr::DNS_FUNCTIONS) their results.
pub struct QueryEnv<'q>(pub &'q Query);

impl Env for QueryEnv<'_> {
    fn call<'e>(&'e self, name: &str, args: &[Value<'e>]) -> Result<Value<'e>, String> {
        let query = self.0;
        Ok(match name {
            "bufsize" => Value::Int(query.size_limit() as i64),
            "class" => Class(query.qclass).to_string().into(),
            "client_ip" => query.peer.ip().to_string().into(),
            "do" => Value::Bool(query.dnssec_ok()),
            "id" => Value::Int(query.id.into()),
            "incidr" => return incidr(args),
            "metadata" => {
                let label = args.first().and_then(Value::as_str);
                let value = label.and_then(|label| query.meta.find(label));
                value.unwrap_or("").into()
            }
            "name" => Text(query.name()).to_string().into(),
            "opcode" => Value::Int(query.opcode().into()),
            "port" => query.peer.port().to_string().into(),
            "proto" => query.proto.as_str().into(),
            "server_ip" => query.local.ip().to_string().into(),
            "server_port" => query.local.port().to_string().into(),
            "size" => Value::Int(query.size as i64),
            "type" => match types::mnemonic(query.qtype) {
                Some(mnemonic) => mnemonic.into(),
                None => Type(query.qtype).to_string().into(),
            },
            // The compiler knows no other names.
            _ => return Err(format!("unknown function {name}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::expr::{DNS_FUNCTIONS, Program};
    use crate::plugin::Proto;
    use crate::testing::directive::query;

    #[test]
    fn every_function_has_its_value() {
        let mut query = query("Client.Example.Org.", types::TXT);
        query.proto = Proto::Tcp;
        query.meta.enabled = true;
        query.meta.set("a/b", || "c".into());
        for (text, expect) in [
            ("bufsize()", "65535"),
            ("class()", "IN"),
            ("client_ip()", "10.240.0.1"),
            ("do()", "false"),
            ("id()", "29008"),
            ("incidr(client_ip(), '10.0.0.0/8')", "true"),
            ("metadata('a/b') + metadata('x/y')", "c"),
            ("name()", "client.example.org."),
            ("opcode()", "0"),
            ("port()", "40212"),
            ("proto()", "tcp"),
            ("server_ip()", "127.0.0.1"),
            ("server_port()", "53"),
            ("size()", "36"),
            ("type()", "TXT"),
        ] {
            let program = Program::compile(text, &DNS_FUNCTIONS).unwrap();
            let env = QueryEnv(&query);
            assert_eq!(program.eval(&env).unwrap().to_string(), expect, "{text}");
        }
        query.peer = "[::1]:53".parse::<std::net::SocketAddr>().unwrap().into();
        (query.qtype, query.qclass) = (65280, 3);
        let program = Program::compile("client_ip() + type() + class()", &DNS_FUNCTIONS).unwrap();
        assert_eq!(
            program.eval(&QueryEnv(&query)).unwrap().to_string(),
            "::1TYPE65280CH"
        );
        for function in &DNS_FUNCTIONS {
            let args = vec![Value::from("1.2.3.4/5"); function.args.len()];
            let env = QueryEnv(&query);
            let outcome = env.call(function.name, &args);
            assert!(
                !matches!(outcome, Err(error) if error.starts_with("unknown")),
                "{}",
                function.name
            );
        }
    }
}
