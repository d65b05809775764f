//! The server from its start to its end.

use std::{io, thread::JoinHandle, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, signal};

/// How long connections may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until `end` comes, and then what has been taken by then. `worker` ends with the router,
/// which has the only queue to it.
///
/// # Errors
/// Those of the listener, and a worker that panicked.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    worker: JoinHandle<()>,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let end = async move {
        end.await;
        let _ = ended.send(());
    };
    // Without it, an answer in two packets waits for the client's acknowledgement of the first.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let late = async {
        let _ = has_ended.await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = async { axum::serve(listener, router).with_graceful_shutdown(end).await } => {
            served?;
            // All requests are answered, and the queue is dropped: the thread has ended, or is about to.
            worker.join().map_err(|_| io::Error::other("the thread of the model panicked"))
        }
        () = late => {
            eprintln!("connections that are open after {} s are cut off", PATIENCE.as_secs());
            Ok(())
        }
    }
}

/// Ctrl-C or SIGTERM.
pub async fn asked_to_end() {
    let interrupted = async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        () = interrupted => {}
        _ = terminated => {}
    }
}
