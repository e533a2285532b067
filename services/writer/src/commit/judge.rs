//! What is asked before anything is stored: Postgres on values that only it can judge, the catalogue before a rejection.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;
use veilpost_proto::v1::Reason;

use super::Committer;
use super::load::Load;
use crate::catalogue::{Column, ReadError, Target};
use crate::database::{DbError, Owner, ServerError, owner_of_input};
use crate::record::Fate;
use crate::statement;

impl Committer {
    /// Rejects records whose values Postgres does not take, before they are in a statement whose failure is logged.
    pub(super) async fn judge_unsure(&mut self, load: &mut Load) -> Result<(), Status> {
        let target = Arc::clone(&load.target);
        for (index, column) in target.columns.iter().enumerate() {
            let unsure = load.unsure(index);
            if unsure.is_empty() {
                continue;
            }
            let (values, places): (Vec<&str>, Vec<Vec<usize>>) = unsure.into_iter().unzip();
            let refused = loop {
                match self.try_judge(column, &values).await {
                    Ok(refused) => break refused,
                    Err(error) => self.recover(&error, &target).await?,
                }
            };
            let mut fates = HashMap::new();
            for (value, reason, error) in refused {
                let fate = Fate::Rejected(reason, format!("column {}: {}", column.name, error.detail()));
                let places = places.get(value).into_iter().flatten();
                fates.extend(places.map(|place| (*place, fate.clone())));
            }
            load.settle_at(fates);
        }
        Ok(())
    }

    /// Which values are refused for what they are. What is not sure to be about the value is left to the insert, and an
    /// answer that is surely not about it, such as a full memory, is an error as a whole.
    async fn try_judge(
        &mut self,
        column: &Column,
        values: &[&str],
    ) -> Result<Vec<(usize, Reason, ServerError)>, DbError> {
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
