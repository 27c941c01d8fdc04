//! Certificates for wss: from the settings, or a development certificate made at the first start.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// TLS 1.2 and 1.3 with the configured certificate and key, or a development certificate of
/// `development_dir`, made there if need be.
pub fn server_config(
    configured: Option<&(PathBuf, PathBuf)>,
    development_dir: &Path,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = match configured {
        Some(paths) => paths.clone(),
        None => development_certificate(development_dir)?,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError(format!("certificate {}: {error}", certificate.display())))?;
    if chain.is_empty() {
        return Err(TlsError(format!(
            "certificate {}: no certificate in it",
            certificate.display()
        )));
    }
    let private = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| TlsError(format!("key {}: {error}", key.display())))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| TlsError(format!("certificate {}: {error}", certificate.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn development_certificate(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (dir.join("development.pem"), dir.join("development.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let fail = |error: &dyn std::fmt::Display| {
        TlsError(format!(
            "development certificate in {}: {error}",
            dir.display()
        ))
    };
    let pair = KeyPair::generate().map_err(|error| fail(&error))?;
    let mut params =
        CertificateParams::new(vec!["localhost".to_owned()]).map_err(|error| fail(&error))?;
    for address in [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        params
            .subject_alt_names
            .push(rcgen::SanType::IpAddress(address));
    }
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "blackhole development");
    let made = params.self_signed(&pair).map_err(|error| fail(&error))?;
    std::fs::create_dir_all(dir).map_err(|error| fail(&error))?;
    write_private(&key, &pair.serialize_pem()).map_err(|error| fail(&error))?;
    std::fs::write(&certificate, made.pem()).map_err(|error| fail(&error))?;
    tracing::warn!(
        certificate = %certificate.display(),
        "made a development certificate for localhost; set tls.certificate and tls.key for real clients"
    );
    Ok((certificate, key))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_certificate_is_made_once() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("certs");
        server_config(None, &dir).expect("made");
        let first = std::fs::read(dir.join("development.pem")).expect("there");
        server_config(None, &dir).expect("read again");
        assert_eq!(
            std::fs::read(dir.join("development.pem")).expect("there"),
            first
        );
    }

    #[test]
    fn wrong_files_are_named() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pem");
        let paths = (path.clone(), path.clone());
        let error = server_config(Some(&paths), folder.path())
            .expect_err("absent")
            .to_string();
        assert!(error.contains("x.pem"), "{error}");
        std::fs::write(&path, "nothing").expect("written");
        let error = server_config(Some(&paths), folder.path())
            .expect_err("empty")
            .to_string();
        assert!(error.contains("no certificate in it"), "{error}");
    }
}
