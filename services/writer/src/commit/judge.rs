//! What is asked before anything is stored: Postgres on values that only it can judge, the catalogue before a rejection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tonic::Status;
use veilpost_proto::v1::Reason;

use super::Committer;
use super::load::Load;
use crate::catalogue::{Column, ReadError, Target};
use crate::database::{DbError, Owner, ServerError, owner, owner_of_input};
use crate::metrics::{self, Cause};
use crate::record::Fate;
use crate::statement;

/// How often a value takes too long alone before its record is left.
const PATIENCE: u32 = 3;

/// A value that only Postgres can judge, with the places of the records that have it.
type Unjudged<'load> = (&'load str, Vec<usize>);

/// Values of one column that are judged by one statement.
struct Group<'load> {
    unjudged: Vec<Unjudged<'load>>,
    /// How often judging it took too long since it is a single value.
    timeouts: u32,
}

impl Group<'_> {
    fn values(&self) -> Vec<&str> {
        self.unjudged.iter().map(|(value, _)| *value).collect()
    }

    fn halves(mut self) -> [Self; 2] {
        let second = self.unjudged.split_off(self.unjudged.len() / 2);
        [self, Self { unjudged: second, timeouts: 0 }]
    }

    /// The fates of the records that have one of the `refused` values, which are told by their position.
    fn refused(&self, column: &Column, refused: Vec<Refused>) -> HashMap<usize, Fate> {
        let mut fates = HashMap::new();
        for (value, reason, error) in refused {
            let fate = Fate::Rejected(reason, format!("column {}: {}", column.name, error.detail()));
            let places = self.unjudged.get(value).map(|(_, places)| places).into_iter().flatten();
            fates.extend(places.map(|place| (*place, fate.clone())));
        }
        fates
    }

    fn left(&self, error: &DbError) -> HashMap<usize, Fate> {
        tracing::warn!(
            error = error.to_string(),
            "a value takes too long to judge; its records are left in the queue"
        );
        let places = self.unjudged.iter().flat_map(|(_, places)| places);
        places.map(|place| (*place, Fate::Left)).inspect(|_| metrics::left(Cause::Undecided)).collect()
    }
}

/// A value, by its position among those asked about, and why Postgres refuses it.
type Refused = (usize, Reason, ServerError);

impl Committer {
    /// Rejects records whose values Postgres does not take, before they are in a statement whose failure is logged.
    pub(super) async fn judge_unsure(&mut self, load: &mut Load) -> Result<(), Status> {
        let target = Arc::clone(&load.target);
        for (index, column) in target.columns.iter().enumerate() {
            let unsure: Vec<_> = load.unsure(index).into_iter().collect();
            if !unsure.is_empty() {
                let fates = self.judge(column, unsure, &target).await?;
                load.settle_at(fates);
            }
        }
        Ok(())
    }

    /// The fates of the records, by place, whose values are not taken. What takes too long together is asked in halves; a
    /// value that takes too long alone is left when nothing else is wrong with the database.
    async fn judge(
        &mut self,
        column: &Column,
        unsure: Vec<Unjudged<'_>>,
        target: &Target,
    ) -> Result<HashMap<usize, Fate>, Status> {
        let mut fates = HashMap::new();
        let mut groups = VecDeque::from([Group { unjudged: unsure, timeouts: 0 }]);
        while let Some(mut group) = groups.pop_front() {
            match self.try_judge(column, &group.values()).await {
                Ok(refused) => fates.extend(group.refused(column, refused)),
                Err(error) if owner(&error) != Owner::Cancelled => {
                    self.recover(&error, target).await?;
                    groups.push_front(group);
                }
                Err(error) if group.unjudged.len() > 1 => {
                    self.recover(&error, target).await?;
                    group.halves().into_iter().rev().for_each(|half| groups.push_front(half));
                }
                Err(error) => {
                    group.timeouts += 1;
                    if group.timeouts >= PATIENCE && self.takes_others(target).await? {
                        fates.extend(group.left(&error));
                    } else {
                        self.recover(&error, target).await?;
                        groups.push_back(group);
                    }
                }
            }
        }
        Ok(fates)
    }

    /// Whether the table takes rows, so that a failure is about what was asked.
    async fn takes_others(&mut self, target: &Target) -> Result<bool, Status> {
        match self.try_probe(target).await {
            Ok(verdict) => verdict.map(|()| true),
            Err(error) => self.recover(&error, target).await.map(|()| false),
        }
    }

    /// Which values are refused for what they are. What is not sure to be about the value is left to the insert, and an
    /// answer that is surely not about it, such as a full memory, is an error as a whole.
    async fn try_judge(&mut self, column: &Column, values: &[&str]) -> Result<Vec<Refused>, DbError> {
        let session = self.session().await?;
        let mut refused = Vec::new();
        for (place, sqlstate) in statement::refused_inputs(session, column, values).await? {
            let error = ServerError::with_sqlstate(sqlstate);
            match owner_of_input(&error) {
                Owner::Record(reason) => refused.push((place, reason, error)),
                Owner::Undecided => {}
                _ => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    /// Nothing is rejected by an outdated definition: a column may have been widened since the stream began.
    pub(super) async fn confirm_definition(&mut self, target: &Target) -> Result<(), Status> {
        loop {
            match self.try_confirm(target).await {
                Ok(verdict) => return verdict,
                Err(error) => self.recover(&error, target).await?,
            }
        }
    }

    /// The inner result is the catalogue's verdict on the target.
    pub(super) async fn try_confirm(&mut self, target: &Target) -> Result<Result<(), Status>, DbError> {
        let shared = Arc::clone(&self.shared);
        let session = self.session().await?;
        match shared.catalogue.refresh(session).await {
            Ok(table) if Arc::ptr_eq(&table, &target.table) => Ok(Ok(())),
            Ok(table) => Ok(Err(target.outdated_by(&table))),
            Err(ReadError::Unfit(why)) => Ok(Err(Status::failed_precondition(why))),
            Err(ReadError::Database(error)) => Err(error),
        }
    }
}
