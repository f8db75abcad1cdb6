//! What `after_query` was given, and what becomes of it.

use std::sync::Arc;

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyString};

use super::{
    freezing::{differs, read_rows},
    params::{PyParameters, row_count},
    values::told,
};
use crate::{
    config::OnNondeterministic,
    ground::{event::Level, panics::caught},
    python::process::{known::Known, live::Live},
    sql::{Plan, ReplicaSet, Skip},
    write::{
        Reason, ReasonCode, SentStatement,
        render::{ParameterSet, Values, render},
    },
};

/// The arguments of one call.
pub struct Given<'a, 'py> {
    pub sql: &'a Bound<'py, PyAny>,
    pub params: Option<&'a Bound<'py, PyAny>>,
    pub result: Option<&'a Bound<'py, PyAny>>,
    pub many: bool,
    pub rows: Option<&'a Bound<'py, PyAny>>,
    pub key: Option<&'a Bound<'py, PyAny>>,
}

/// A call, read but not yet submitted.
pub struct Call {
    pub statements: Result<Vec<SentStatement>, Reason>,
    pub targets: ReplicaSet,
    pub expected: Option<i64>,
}

impl Call {
    /// One that could not be read: a transaction without it would be half a transaction.
    pub fn failed(live: &Live) -> Self {
        let message = "afterquery failed at a statement of the transaction; the log tells where";
        let statements = Err(Reason::new(ReasonCode::Panic, message));
        Self { statements, targets: live.engine.shared().all(), expected: None }
    }
}

type Rendered = Result<Vec<SentStatement>, Reason>;

impl<'py> Given<'_, 'py> {
    /// Reads the call. `None` where there is nothing to replicate.
    pub fn read(&self, live: &Live) -> PyResult<Option<Call>> {
        let Some(plan) = self.plan(live)? else { return Ok(None) };
        // What cannot be sent is rejected by each replica in its turn, as it is where a parameter is wrong.
        caught("render", || self.render(live, &plan)).unwrap_or_else(|panic| {
            live.engine.shared().log(Level::Error, format!("a write is rejected: {panic}"));
            let statements = Err(Reason::new(ReasonCode::Panic, panic.to_string()));
            Ok(Some(Call { statements, targets: plan.targets(), expected: None }))
        })
    }

    fn render(&self, live: &Live, plan: &Arc<Plan>) -> PyResult<Option<Call>> {
        let (statements, rows) = if self.many || plan.suspect {
            match self.sets() {
                Ok(sets) => self.render_sets(live, text_of(self.sql)?.to_str()?, plan, &sets),
                Err(reason) => (Err(reason), None),
            }
        } else {
            (self.render_one(plan), None)
        };
        if statements.as_ref().is_ok_and(Vec::is_empty) {
            // `executemany` without rows.
            let statements = match self.lost_rows() {
                Some(reason) if rows.is_none() && self.rows.is_none() => Err(reason),
                _ => return Ok(None),
            };
            return Ok(Some(Call { statements, targets: plan.targets(), expected: None }));
        }
        // Each row that stands for a statement changes one row: one that is missing on a replica shows.
        let expected = rows.or_else(|| self.result.filter(|_| plan.counts_rows()).and_then(row_count));
        Ok(Some(Call { statements, targets: plan.targets(), expected }))
    }

    /// What is done with the text; counts what is left out. `None` where that is all of it.
    fn plan(&self, live: &Live) -> PyResult<Option<Arc<Plan>>> {
        let sql = text_of(self.sql)?;
        let plan = match live.texts.get(sql) {
            Some(Known::Skipped(skip)) => {
                live.engine.count_skip(skip, 1);
                return Ok(None);
            }
            Some(Known::Planned(plan)) => live.engine.count_skips(plan),
            None => {
                let Ok(text) = sql.to_str() else {
                    // Lone surrogates: SQLite cannot have run it.
                    live.engine.count_skip(Skip::Unparsed, 1);
                    return Ok(None);
                };
                let plan = live.engine.plan(text);
                live.texts.keep(sql, text, &plan);
                plan
            }
        };
        Ok((!plan.statements.is_empty()).then_some(plan))
    }

    /// Why there should have been rows for many=True where there are none: an iterator gives its rows once, and
    /// `executemany` has had them.
    fn lost_rows(&self) -> Option<Reason> {
        let params = self.params?;
        let changed = self.result.and_then(row_count);
        // SAFETY: the pointer is a live object, and the GIL is held.
        let is_iterator = unsafe { pyo3::ffi::PyIter_Check(params.as_ptr()) == 1 };
        let lost = changed.map_or(is_iterator, |changed| changed > 0);
        lost.then(|| {
            let message = "with many=True, params holds no rows any more, but the statement ran: an iterator gives them once; \
                           pass a list to both";
            Reason::new(ReasonCode::Parameters, message)
        })
    }

    fn render_one(&self, plan: &Plan) -> Rendered {
        let mut statements = Vec::with_capacity(plan.statements.len());
        let params = self.params.map_or(PyParameters::None, PyParameters::new);
        render(plan, Values::One(&params), &mut statements)?;
        Ok(statements)
    }

    fn render_sets(
        &self,
        live: &Live,
        sql: &str,
        plan: &Plan,
        sets: &[Bound<'py, PyAny>],
    ) -> (Rendered, Option<i64>) {
        if plan.suspect
            && let Some(replaced) = self.replace(live, sql, sets)
        {
            return replaced;
        }
        (if self.many { render_many(plan, sets) } else { self.render_one(plan) }, None)
    }

    /// The sets of parameters, one for each execution.
    fn sets(&self) -> Result<Vec<Bound<'py, PyAny>>, Reason> {
        match self.params {
            Some(params) if self.many => params.try_iter().and_then(Iterator::collect).map_err(|error| {
                let why = told(params.py(), error);
                let message = format!("with many=True, params must be a list of parameter sets: {why}");
                Reason::new(ReasonCode::Parameters, message)
            }),
            params => {
                Ok(vec![params.cloned().unwrap_or_else(|| self.sql.py().None().into_bound(self.sql.py()))])
            }
        }
    }

    /// What is done with a statement that may do something else on a replica, and how many rows stand for it; None where
    /// it is sent as it is.
    fn replace(&self, live: &Live, sql: &str, sets: &[Bound<'py, PyAny>]) -> Option<(Rendered, Option<i64>)> {
        let why = sets.iter().find_map(|set| differs(self.sql.py(), sql, &PyParameters::new(set)))?;
        live.engine.count_nondeterministic();
        let refused = |why: String| Some((Err(Reason::new(ReasonCode::Nondeterministic, why)), None));
        match (live.engine.shared().config.nondeterministic, self.rows) {
            (OnNondeterministic::Warn, _) => {
                live.engine.warn_nondeterministic(sql, &why);
                None
            }
            (OnNondeterministic::Reject, _) => {
                refused(format!("the statement {why}; freeze it with before_query"))
            }
            (OnNondeterministic::Rows, None) => {
                refused(format!("the statement {why}; freeze it with before_query, or pass rows= and key="))
            }
            (OnNondeterministic::Rows, Some(rows)) => match read_rows(sql, rows, self.key) {
                Ok(None) => Some((Ok(Vec::new()), None)),
                Ok(Some(rows)) => {
                    let plan = live.engine.look_up(&rows.statement.sql);
                    Some((render_many(&plan, &rows.values), Some(rows.values.len() as i64)))
                }
                Err(error) => refused(format!("the statement {why}, and {error}")),
            },
        }
    }
}

fn render_many(plan: &Plan, rows: &[Bound<'_, PyAny>]) -> Rendered {
    let mut statements = Vec::with_capacity(plan.statements.len() * rows.len());
    let sets: Vec<_> = rows.iter().map(PyParameters::new).collect();
    let sets: Vec<_> = sets.iter().map(|set| set as &dyn ParameterSet).collect();
    render(plan, Values::Many(&sets), &mut statements)?;
    Ok(statements)
}

/// The SQL text. Anything but a str is a wrong use of the API.
pub fn text_of<'a, 'py>(sql: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyString>> {
    let text = sql.cast::<PyString>();
    text.map_err(|_| {
        PyTypeError::new_err(format!("sql must be a str, not {}", super::params::type_name(sql)))
    })
}
