//! The one thread of ours that takes the GIL: it completes asyncio futures and writes to Python's `logging`.
//! The threads that deliver never do either, so a program that holds the GIL for long cannot stall them.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use pyo3::{intern, prelude::*};
use pyo3_async_runtimes::{
    TaskLocals,
    generic::{ContextExt, JoinError, Runtime, future_into_py},
};
use tokio::sync::{mpsc, oneshot};

use super::errors::AfterqueryError;
use crate::ground::{
    error::Error,
    event::{Event, EventSink, Level},
    fork::OwnThread,
    panics::{caught, caught_in},
};

/// Log records that wait for Python; more are dropped and counted, so that logging never blocks delivery.
const MAX_WAITING_LOGS: usize = 1_024;

/// A thread with an event loop of its own.
#[derive(Debug)]
pub struct Bridge {
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<OwnThread>,
    /// Log records dropped.
    pub dropped: Arc<AtomicU64>,
}

impl Bridge {
    /// Starts the thread. Second comes where events are put.
    pub fn start() -> Result<(Self, EventSink), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Start(error.to_string()))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (events, waiting) = mpsc::channel(MAX_WAITING_LOGS);
        let thread =
            OwnThread::start("afterquery-python", move || runtime.block_on(write_logs(waiting, stopped)))
                .map_err(|error| Error::Start(error.to_string()))?;
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let sink: EventSink = Box::new(move |event| {
            if events.try_send(event).is_err() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok((Self { handle, stop: Some(stop), thread: Some(thread), dropped }, sink))
    }

    /// Where futures for Python are run.
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.handle.clone()
    }
}

/// Threads of bridges that are no longer used, and may still be writing their last log records.
static ENDING: Mutex<Vec<OwnThread>> = Mutex::new(Vec::new());

impl Drop for Bridge {
    /// Has the thread end after it has written what is waiting. Does not wait: the GIL may be held here, and the
    /// thread may need it.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
            ending.retain(|thread| !thread.is_finished());
            ending.push(thread);
        }
    }
}

/// Waits for the threads of dropped bridges. The GIL must not be held.
pub fn join_ending() {
    let ending = std::mem::take(&mut *ENDING.lock().unwrap_or_else(PoisonError::into_inner));
    ending.into_iter().for_each(OwnThread::join);
}

async fn write_logs(mut events: mpsc::Receiver<Event>, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => write_log(&event),
                None => { let _ = (&mut stopped).await; return }
            },
            _ = &mut stopped => {
                while let Ok(event) = events.try_recv() {
                    write_log(&event);
                }
                return;
            }
        }
    }
}

/// Writes a record. Nobody can be told of a panic here; it is counted.
fn write_log(event: &Event) {
    let _ = caught("log", || log(event));
}

fn log(event: &Event) {
    let method = match event.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    // Not `attach`: while the interpreter ends there is nobody to log to.
    Python::try_attach(|py| {
        let logger = py
            .import(intern!(py, "logging"))
            .and_then(|logging| logging.call_method1(intern!(py, "getLogger"), (intern!(py, "afterquery"),)));
        let logged = logger.and_then(|logger| logger.call_method1(method, ("%s", &event.message)));
        if let Err(error) = logged {
            error.write_unraisable(py, None);
        }
    });
}

/// A Python awaitable for `future`, which runs on the bridge's thread.
pub fn awaitable<'py, T>(
    py: Python<'py>,
    handle: &tokio::runtime::Handle,
    future: impl Future<Output = PyResult<T>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    // Entering names the runtime for `BridgeRuntime::spawn`, which has no argument to carry it: a static one
    // would be the parent's after a fork.
    let _entered = handle.enter();
    let guarded = async {
        caught_in("await", future)
            .await
            .unwrap_or_else(|panic| Err(AfterqueryError::new_err(panic.to_string())))
    };
    future_into_py::<BridgeRuntime, _, T>(py, guarded)
}

/// The bridge as `pyo3-async-runtimes` sees it.
struct BridgeRuntime;

struct Task(tokio::task::JoinHandle<()>);

struct TaskError(tokio::task::JoinError);

impl JoinError for TaskError {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

impl Future for Task {
    type Output = Result<(), TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(TaskError)
    }
}

impl Runtime for BridgeRuntime {
    type JoinError = TaskError;
    type JoinHandle = Task;

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> Task {
        Task(tokio::spawn(AWAITED.scope(RefCell::default(), future)))
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> Task {
        let awaited = AWAITED.try_with(RefCell::take).ok().flatten();
        // What is called blocking here takes the GIL: that is what this thread is for.
        Task(tokio::spawn(async move {
            Python::attach(|py| {
                // Nobody awaits on a loop that is closed, and it takes no answer: each would print a traceback.
                if !awaited.is_some_and(|locals| is_closed(&locals.event_loop(py))) {
                    work();
                }
            });
        }))
    }
}

fn is_closed(event_loop: &Bound<'_, PyAny>) -> bool {
    let closed = event_loop.call_method0(intern!(event_loop.py(), "is_closed"));
    closed.and_then(|closed| closed.extract()).unwrap_or(false)
}

tokio::task_local! {
    static LOCALS: TaskLocals;
    /// The loop on which somebody awaits what the task is for.
    static AWAITED: RefCell<Option<TaskLocals>>;
}

impl ContextExt for BridgeRuntime {
    fn scope<F, R>(locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let _ = AWAITED.try_with(|awaited| awaited.replace(Some(locals.clone())));
        Box::pin(LOCALS.scope(locals, future))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(Clone::clone).ok()
    }
}
