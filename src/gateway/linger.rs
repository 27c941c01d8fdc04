//! The end of a TCP connection. Closing with unread bytes would reset it, and the peer might lose
//! what was sent last: a close frame with its reason, or the answer to a bad handshake.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A peer that sends more than this after our last word is cut.
pub(super) const MOST: usize = 16 * 1024 * 1024;

/// Says that nothing more comes, then reads and forgets until the peer ends. The caller sets a
/// time limit.
pub(super) async fn linger<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    let mut scrap = [0; 1024];
    let mut seen = 0;
    while seen < MOST {
        match stream.read(&mut scrap).await? {
            0 => break,
            some => seen += some,
        }
    }
    Ok(())
}
