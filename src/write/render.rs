//! From a plan and the parameters of a call to the statements that are sent.

use std::cell::Cell;

use super::{
    body::{Body, SentStatement},
    reason::{Reason, ReasonCode},
    write::Draft,
};
use crate::sql::{Parameters, Plan, PlannedStatement, Rendered, ReplicaSet};

/// The longest literal that is put into a text, in bytes; a longer value is sent ahead, in pieces. A third of
/// [`MAX_SQL_BYTES`], so that a few values of middling size need no extra request.
pub const MAX_LITERAL_BYTES: usize = 32_000;

/// How the parameters of a call are to be read.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// One set of parameters, for the text run once.
    One(&'a dyn ParameterSet),
    /// Several: the text was run once with each, as one write.
    Many(&'a [&'a dyn ParameterSet]),
}

/// The parameters of one execution.
pub trait ParameterSet {
    /// The number of values, where they are a sequence.
    fn count(&self) -> Option<usize>;
    /// Gives `render` the values of one statement: those of a sequence from number `first` (from 0) on.
    fn statement(&self, first: u32, render: &mut dyn FnMut(&dyn Parameters));
}

/// Puts the parameters into a plan's statements. What cannot be sent becomes a body that says so.
pub fn render(plan: &Plan, values: Values<'_>, out: &mut Vec<SentStatement>) -> Result<(), Reason> {
    match values {
        Values::One(set) => render_set(plan, set, out),
        Values::Many(sets) => sets.iter().enumerate().try_for_each(|(at, set)| {
            render_set(plan, *set, out).map_err(|reason| {
                Reason::new(reason.code, format!("row {} of many: {}", at + 1, reason.message))
            })
        }),
    }
}

fn render_set(plan: &Plan, set: &dyn ParameterSet, out: &mut Vec<SentStatement>) -> Result<(), Reason> {
    let wrong = |message: String| Reason::new(ReasonCode::Parameters, message);
    if let Some(given) = set.count()
        && given != plan.parameters as usize
    {
        return Err(wrong(format!("the statement takes {} parameters, {given} were given", plan.parameters)));
    }
    for statement in &plan.statements {
        let mut result = Err(String::new());
        set.statement(statement.first_parameter, &mut |values| result = render_statement(statement, values));
        out.push(result.map_err(wrong)?);
    }
    Ok(())
}

fn render_statement(
    statement: &PlannedStatement,
    parameters: &dyn Parameters,
) -> Result<SentStatement, String> {
    // How a statement is sent that is longer than a text may be is decided for each replica: `wire::fit`.
    let Rendered { sql, large } =
        statement.template.render_into(SCRATCH.take(), parameters, MAX_LITERAL_BYTES)?;
    let large = (!large.is_empty()).then(|| Box::new(large));
    let row = statement.template.row().filter(|_| large.is_none());
    let sent = SentStatement { sql: sql.as_str().into(), large, targets: statement.targets, row };
    if sql.capacity() <= MAX_SCRATCH_BYTES {
        SCRATCH.set(sql);
    }
    Ok(sent)
}

thread_local! {
    /// Where a statement is rendered before its exact length is known: one that grew in place would keep more memory than
    /// it needs for as long as it is pending. Taken and not borrowed, because a parameter's adapter may write, too.
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
}

/// A buffer that has become larger is let go.
const MAX_SCRATCH_BYTES: usize = 1 << 16;

/// Makes the draft of a write. Rejected ones keep the plan's targets, so that each replica tells.
pub fn draft(
    statements: Result<Vec<SentStatement>, Reason>,
    targets: ReplicaSet,
    expected: Option<i64>,
) -> Draft {
    let body = match statements {
        Ok(mut statements) if statements.len() == 1 => match statements.pop() {
            Some(statement) => Body::One(statement),
            None => Body::Many(Box::default()),
        },
        Ok(statements) => Body::Many(statements.into()),
        Err(reason) => Body::unsendable(reason, targets),
    };
    Draft { body, targets, expected }
}
