//! Tokens and certificates, and how they change.

use super::*;
use crate::kube::access::TlsFiles;
use crate::testing::files::Dir;
use crate::testing::kube_api::Authority;

fn kubeconfig(dir: &Dir, url: &str, ca: Option<&str>, user: &str) -> Source {
    let ca = ca.map_or(String::new(), |ca| format!("certificate-authority: {ca}"));
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: other
clusters:
- name: c
  cluster:
    server: {url}
    {ca}
users:
- name: u
  user:
{user}
contexts:
- name: it
  context: {{cluster: c, user: u}}
"
    );
    Source::Kubeconfig {
        file: dir.write("kubeconfig", &text).into(),
        context: Some("it".into()),
    }
}

#[test]
fn a_token_file_that_changes() {
    let api = Api::new();
    api.script(|script| script.token = Some("first".into()));
    let dir = Dir::new();
    // Files written by hand end in a line break; the path may be relative to the kubeconfig.
    dir.write("token", "first\n");
    let source = kubeconfig(&dir, &api.url(), None, "    tokenFile: token");
    let scene = Scene::with(access(source), base());
    scene.wait(|board| board.is_synced(Kind::Service));
    api.script(|script| script.token = Some("second".into()));
    api.put(service("web"));
    api.restart();
    scene.wait(|board| board.is_lost(Kind::Service));
    wait(|| api.asked().iter().any(|asked| asked.code == 401));
    dir.write("token", "second\n");
    scene.wait(|board| board.has(&service("web")) && !board.is_lost(Kind::Service));
}

#[test]
fn a_credential_plugin_whose_token_ends() {
    let api = Api::new();
    api.script(|script| script.token = Some("first".into()));
    let dir = Dir::new();
    let token = |token: &str| {
        let text = format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}"#
        );
        dir.write("credential", &text)
    };
    let file = token("first");
    let user = format!(
        "    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: cat
      args: [{file}]
      interactiveMode: Never"
    );
    let source = kubeconfig(&dir, &api.url(), None, &user);
    let access = access(source);
    access.check().unwrap();
    let scene = Scene::with(access, base());
    scene.wait(|board| board.is_synced(Kind::Service));
    // The plugin did not say when its token ends: the server does, with a 401.
    token("second");
    api.script(|script| script.token = Some("second".into()));
    api.put(service("web"));
    api.restart();
    scene.wait(|board| board.has(&service("web")) && !board.is_lost(Kind::Service));
}

#[test]
fn a_client_certificate_that_changes() {
    let authority = Authority::with_clients();
    let api = Api::with_tls(&authority);
    let (cert, key) = authority.client("us");
    let tls = TlsFiles {
        cert: cert.clone().into(),
        key: key.clone().into(),
        ca: authority.ca_file().into(),
    };
    // Without a scheme, as CoreDNS takes it.
    let url = api.addr().to_string();
    let access = access(Source::Endpoint {
        url,
        tls: Some(tls),
    });
    access.check().unwrap();
    let scene = Scene::with(access, base());
    scene.wait(|board| board.is_synced(Kind::Service));
    // A certificate without its key is half of a change.
    let key_before = std::fs::read_to_string(&key).unwrap();
    authority.client("us");
    let key_after = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, key_before).unwrap();
    api.restart();
    api.put(service("web"));
    scene.wait(|board| board.has(&service("web")));
    std::fs::write(&key, key_after).unwrap();
    api.restart();
    api.put(service("new"));
    scene.wait(|board| board.has(&service("new")) && !board.is_lost(Kind::Service));
}

#[test]
fn a_server_that_is_not_the_one_we_trust_is_not_believed() {
    let api = Api::with_tls(&Authority::new());
    let other = Authority::new();
    let dir = Dir::new();
    let source = kubeconfig(&dir, &api.url(), Some(&other.ca_file()), "    token: x");
    let scene = Scene::with(access(source), base());
    scene.wait(|board| board.is_lost(Kind::Service));
    assert_eq!(api.asked().len(), 0);
    assert!(!scene.board(|board| board.is_synced(Kind::Service)));
}

#[test]
fn a_kubeconfig_that_comes_later_or_changes() {
    let api = Api::new();
    api.put(service("web"));
    let dir = Dir::new();
    let file = dir.path().join("kubeconfig");
    let source = Source::Kubeconfig {
        file,
        context: Some("it".into()),
    };
    let scene = Scene::with(access(source), base());
    scene.wait(|board| board.is_lost(Kind::Service));
    kubeconfig(&dir, &api.url(), None, "    token: x");
    scene.wait(|board| board.has(&service("web")));
    let other = Api::new();
    other.put(service("other"));
    kubeconfig(&dir, &other.url(), None, "    token: x");
    api.stop();
    scene.wait(|board| board.has(&service("other")) && !board.has(&service("web")));
}
