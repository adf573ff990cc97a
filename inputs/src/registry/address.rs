//! Where a registry is: its URL without the user and password, and which interface it speaks.

use super::RegistryError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::fs;
use std::path::Path;

/// The address of a registry.
pub(super) struct Address {
    /// Without a user, and without a slash at its end.
    pub(super) base: String,
    /// The value of the header Authorization. In no message, and in no `Debug` output.
    pub(super) authorization: Option<String>,
    pub(super) interface: Interface,
}

/// What a registry understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    /// Confluent's, which most registries have, Apicurio's under `/apis/ccompat/v7`.
    Confluent,
    /// Apicurio's own, under `/apis/registry/v2` or `v3`: the one that knows global ids.
    Apicurio(u8),
}

impl Address {
    /// Reads an `http` or `https` URL, in which a user and a password may stand; or they stand in a file, as
    /// `user:password`.
    pub(super) fn new(url: &str, login: Option<&Path>) -> Result<Address, RegistryError> {
        let error = |what: &str| Err(RegistryError(format!("--schema-registry {what}")));
        let Some((scheme, rest)) = url.split_once("://") else {
            return error("wants an address such as http://localhost:8081, or a folder of schemas");
        };
        if !matches!(scheme, "http" | "https") {
            return error("wants an address that begins with http:// or https://");
        }
        if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_control() || c == ' ') {
            return error("wants an address without ?, # and blanks");
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() {
            return error("wants an address with a host, such as http://localhost:8081");
        }
        let login = match (user, login) {
            (Some(_), Some(_)) => {
                return error(
                    "has a user in its address, and --schema-registry-login names a file: give one of them",
                );
            }
            (Some(user), None) => Some(decoded(user)?),
            (None, Some(path)) => Some(from_file(path)?),
            (None, None) => None,
        };
        let path = path.trim_end_matches('/');
        let interface = match path {
            _ if path.ends_with("/apis/registry/v2") => Interface::Apicurio(2),
            _ if path.ends_with("/apis/registry/v3") => Interface::Apicurio(3),
            _ => Interface::Confluent,
        };
        let authorization = login.map(|login| format!("Basic {}", BASE64_STANDARD.encode(login)));
        Ok(Address { base: format!("{scheme}://{host}{path}"), authorization, interface })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.base).field(&self.interface).finish()
    }
}

/// A user and a password as they stand in a URL.
fn decoded(user: &str) -> Result<String, RegistryError> {
    let decoded = percent_decode_str(user).decode_utf8().map_err(|_| {
        RegistryError("--schema-registry has a user or a password that is no UTF-8 when decoded".to_owned())
    })?;
    checked(&decoded, "--schema-registry wants both a user and a password, user:password@, or neither")
}

fn from_file(path: &Path) -> Result<String, RegistryError> {
    let text = fs::read_to_string(path).map_err(|error| {
        RegistryError(format!("cannot read --schema-registry-login {}: {error}", path.display()))
    })?;
    checked(
        text.trim_end_matches(['\r', '\n']),
        "--schema-registry-login wants a file with one line, user:password",
    )
}

fn checked(login: &str, wanted: &str) -> Result<String, RegistryError> {
    let is_login = login.contains(':') && !login.starts_with(':') && !login.contains(char::is_control);
    if is_login { Ok(login.to_owned()) } else { Err(RegistryError(wanted.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, String> {
        Address::new(url, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_login_is_taken_out_of_the_address() {
        let address = address("http://alice:p%40ss:word@registry:8081/api/").unwrap();
        assert_eq!(address.base, "http://registry:8081/api");
        // alice:p@ss:word
        assert_eq!(address.authorization.as_deref(), Some("Basic YWxpY2U6cEBzczp3b3Jk"));
        assert_eq!(format!("{address:?}"), r#"Address("http://registry:8081/api", Confluent)"#);
    }

    #[test]
    fn a_login_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login");
        fs::write(&path, "alice:secret\n").unwrap();
        let address = Address::new("https://registry", Some(&path)).unwrap();
        assert_eq!(address.authorization.as_deref(), Some("Basic YWxpY2U6c2VjcmV0"));
        fs::write(&path, "alice\n").unwrap();
        let error = Address::new("https://registry", Some(&path)).unwrap_err().to_string();
        assert_eq!(error, "--schema-registry-login wants a file with one line, user:password");
        assert!(Address::new("https://bob:secret@registry", Some(&path)).is_err());
    }

    #[test]
    fn the_interface_is_known_by_the_path() {
        let interface = |url| address(url).unwrap().interface;
        assert_eq!(interface("http://registry/apis/ccompat/v7"), Interface::Confluent);
        assert_eq!(interface("http://registry/apis/registry/v2/"), Interface::Apicurio(2));
        assert_eq!(interface("http://registry/prefix/apis/registry/v3"), Interface::Apicurio(3));
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for url in [
            "registry:8081",
            "ftp://u:secret@registry",
            "http://u:secret@",
            "http://u:secret@registry/?a",
            "http://secret@registry",
            "http://:secret@registry",
            "http://u:secret%0a@registry",
            "http://u:secret@reg istry",
        ] {
            let error = address(url).unwrap_err();
            assert!(!error.contains("secret") && error.contains("--schema-registry"), "{url}: {error}");
        }
    }
}
