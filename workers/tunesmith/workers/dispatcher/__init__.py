"""The dispatcher: a Ray driver that takes jobs from the database to cohorts, and results back.

It alone writes what happens to a job, always under the job's lease. Each pass of its loop is
short; slow work (reading files, training, proving an adapter) is Ray's or a thread's.
"""
