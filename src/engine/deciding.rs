//! What becomes of a statement that ran: it is sent as it is, rows are sent in its place, or it is rejected.

use super::engine::Engine;
use crate::{
    config::OnNondeterministic,
    ground::{event::Level, panics::caught},
    sql::{BoundTexts, Plan, RowError, RowStatement, classify, differs, rows_statement},
    write::{
        Reason, ReasonCode, SentStatement,
        call::Call,
        render::{ParameterSet, Values, render},
    },
};

/// What was given with a statement that ran. Who implements it reads values of another language, and decides nothing.
pub trait Given {
    /// The parameters of one execution.
    type Set: ParameterSet + BoundTexts;
    /// A row that the statement changed.
    type Row: Row<Set = Self::Set>;
    /// What only the caller's language can say.
    type Error;

    /// The statement's text.
    fn sql(&self) -> Result<&str, Self::Error>;
    /// Whether it was run once with each of several sets of parameters.
    fn is_many(&self) -> bool;
    /// Gives the parameters to `take`, where it was run once.
    fn with_set<T>(&self, take: impl FnOnce(&dyn ParameterSet) -> T) -> T;
    /// The sets, one for each execution.
    fn sets(&self) -> Result<Vec<Self::Set>, Reason>;
    /// Whether the sets can be read only once; `None` where there are none.
    fn is_read_once(&self) -> Option<bool>;
    /// How many rows it changed, where that was told.
    fn changed(&self) -> Option<i64>;
    /// Whether rows were given that it changed.
    fn has_rows(&self) -> bool;
    /// These rows.
    fn rows(&self) -> Option<Result<Vec<Self::Row>, String>>;
    /// The columns that name a row.
    fn key(&self) -> Result<Vec<String>, String>;
    /// Seconds from UTC to the local time of an instant, which is in seconds since 1970.
    fn utc_offset_seconds(&self, unix_seconds: i64) -> Option<i32>;
}

/// A row that a statement changed.
pub trait Row {
    /// The values of some columns.
    type Set;

    /// The names of its columns.
    fn columns(&self) -> Result<Vec<String>, String>;
    /// The values of these.
    fn values(&self, columns: &[&str]) -> Result<Self::Set, String>;
}

type Rendered = Result<Vec<SentStatement>, Reason>;

impl Engine {
    /// What becomes of a statement that ran, as `plan` says. `None` where there is nothing to replicate. What cannot be sent
    /// is rejected by each replica in its turn.
    pub fn decide<G: Given>(&self, given: &G, plan: &Plan) -> Result<Option<Call>, G::Error> {
        caught("render", || self.render(given, plan)).unwrap_or_else(|panic| {
            self.shared().log(Level::Error, format!("a write is rejected: {panic}"));
            let reason = Reason::new(ReasonCode::Panic, panic.to_string());
            Ok(Some(Call::rejected(reason, plan.targets())))
        })
    }

    fn render<G: Given>(&self, given: &G, plan: &Plan) -> Result<Option<Call>, G::Error> {
        let (statements, rows) = if given.is_many() || plan.suspect {
            match given.sets() {
                Ok(sets) => self.render_sets(given, given.sql()?, plan, &sets),
                Err(reason) => (Err(reason), None),
            }
        } else {
            (render_one(given, plan), None)
        };
        if statements.as_ref().is_ok_and(Vec::is_empty) {
            // Run with each of no sets.
            return Ok(match lost_sets(given) {
                Some(reason) if rows.is_none() && !given.has_rows() => {
                    Some(Call::rejected(reason, plan.targets()))
                }
                _ => None,
            });
        }
        // Each row that stands for a statement changes one row: one that is missing on a replica shows.
        let expected = rows.or_else(|| if plan.counts_rows() { given.changed() } else { None });
        Ok(Some(Call { statements, targets: plan.targets(), expected }))
    }

    fn render_sets<G: Given>(
        &self,
        given: &G,
        sql: &str,
        plan: &Plan,
        sets: &[G::Set],
    ) -> (Rendered, Option<i64>) {
        if plan.suspect
            && let Some(replaced) = self.replace(given, sql, sets)
        {
            return replaced;
        }
        (if given.is_many() { render_many(plan, sets) } else { render_one(given, plan) }, None)
    }

    /// What is done with a statement that may do something else on a replica, and how many rows stand for it; `None` where
    /// it is sent as it is.
    fn replace<G: Given>(&self, given: &G, sql: &str, sets: &[G::Set]) -> Option<(Rendered, Option<i64>)> {
        let zone = |unix_seconds| given.utc_offset_seconds(unix_seconds);
        let why = sets.iter().find_map(|set| differs(sql, set, &zone))?;
        self.count_nondeterministic();
        let refused = |why: String| Some((Err(Reason::new(ReasonCode::Nondeterministic, why)), None));
        match self.shared().config.nondeterministic {
            OnNondeterministic::Warn => {
                self.warn_nondeterministic(sql, &why);
                None
            }
            OnNondeterministic::Reject => {
                refused(format!("the statement {why}; freeze it with before_query"))
            }
            OnNondeterministic::Rows => match given.rows().map(|rows| stand_in(given, sql, rows)) {
                None => refused(format!(
                    "the statement {why}; freeze it with before_query, or pass rows= and key="
                )),
                Some(Ok(None)) => Some((Ok(Vec::new()), None)),
                Some(Ok(Some((statement, values)))) => {
                    let plan = self.look_up(&statement.sql);
                    Some((render_many(&plan, &values), Some(values.len() as i64)))
                }
                Some(Err(error)) => refused(format!("the statement {why}, and {error}")),
            },
        }
    }
}

fn render_one<G: Given>(given: &G, plan: &Plan) -> Rendered {
    let mut statements = Vec::with_capacity(plan.statements.len());
    given.with_set(|set| render(plan, Values::One(set), &mut statements))?;
    Ok(statements)
}

fn render_many<S: ParameterSet>(plan: &Plan, sets: &[S]) -> Rendered {
    let mut statements = Vec::with_capacity(plan.statements.len() * sets.len());
    let sets: Vec<_> = sets.iter().map(|set| set as &dyn ParameterSet).collect();
    render(plan, Values::Many(&sets), &mut statements)?;
    Ok(statements)
}

/// Why there should have been sets where there are none: an iterator gives them once, and the driver has had them.
fn lost_sets<G: Given>(given: &G) -> Option<Reason> {
    let is_read_once = given.is_read_once()?;
    let lost = given.changed().map_or(is_read_once, |changed| changed > 0);
    lost.then(|| {
        let message = "with many=True, params holds no rows any more, but the statement ran: an iterator gives them once; \
                       pass a list to both";
        Reason::new(ReasonCode::Parameters, message)
    })
}

/// The statement for one row that stands for the one in `sql`, and the values of each row in the order of its placeholders.
type StandIn<S> = (RowStatement, Vec<S>);

fn stand_in<G: Given>(
    given: &G,
    sql: &str,
    rows: Result<Vec<G::Row>, String>,
) -> Result<Option<StandIn<G::Set>>, String> {
    let rows = rows?;
    let Some(first) = rows.first() else { return Ok(None) };
    let columns = first.columns()?;
    let key = given.key()?;
    let classification = classify(sql);
    let [statement] = classification.statements.as_slice() else {
        return Err(RowError::NotOneWrite.to_string());
    };
    let statement = rows_statement(sql, statement, &columns, &key).map_err(|error| error.to_string())?;
    let chosen: Vec<_> = statement.values.iter().map(|&at| columns[at].as_str()).collect();
    let values = rows.iter().map(|row| {
        let same = row.columns().is_ok_and(|names| names == columns);
        if same {
            row.values(&chosen)
        } else {
            Err("rows= must all have the same columns, in the same order".into())
        }
    });
    Ok(Some((statement, values.collect::<Result<_, _>>()?)))
}
