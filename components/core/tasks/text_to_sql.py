"""Questions about one database, answered with a query, scored by running it on SQLite.

A row as published (`pipelines/examples/text_to_sql/train.jsonl`; `family` is for people who read the data, nobody else sees it):

    {"question": "How many customers live in Oslo?", "sql": "SELECT COUNT(*) FROM customers WHERE city = 'Oslo'",
     "family": "filter_count"}
"""

import random
import re
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import plural
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.sql_features import (
    columns_used,
    grouping_flaw,
    has_text_literal,
    is_ordered,
    parse_query,
    sql_features,
    text_literals,
)
from pada_agent.components.core.tasks.sql_forms import plain_query, spoilt_queries
from pada_agent.components.core.tasks.sqlite_database import QueryError, ResultRow, SqliteDatabase, same_rows
from pada_agent.components.core.tasks.task import CodeRunner, Message, OptionFile, Solution

ASSET = "database.sql"
ROWS_SHOWN = 3  # of a result
RESULT_ROWS = 3  # shown to the teacher that writes the question
FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)(?:```|\Z)", re.DOTALL)
PREFIX = re.compile(r"^\s*(?:sqlite|sql|query|answer)\s*:\s*", re.IGNORECASE)
_SELECT = re.compile(r"(?:select|with)\b", re.IGNORECASE)
SCORING = (
    "The user asks a question about a database; the answer is one SQLite SELECT statement, scored by running it: it must give "
    "the rows of the right query. Repeated rows count, so DISTINCT only where the question says different or distinct; their "
    "order counts only where the question asks for one (ORDER BY)."
)
STATEMENT = re.compile(r"(?:'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|[^;])*", re.DOTALL)


class TextToSqlRow(BaseModel):
    """A question, the query that answers it, and what kind it is."""

    question: str = Field(min_length=1)
    sql: str = Field(min_length=1)
    family: str = ""


class TextToSqlAnswer(BaseModel):
    """What a teacher writes when the answer comes first."""

    model_config = ConfigDict(extra="forbid")

    # The order is that of thinking. A small teacher that names the tables first writes twice as many queries that run, and
    # it puts an existing query into words far better than it writes a query for words.
    tables: str = Field(min_length=4, description="the tables it reads, each with the columns it uses")
    sql: str = Field(min_length=12, description="one SQLite SELECT statement")


class TextToSqlQuestion(BaseModel):
    """What a teacher writes to a query that has been run."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=8, description="what a user asks in plain words to get exactly this, with the values")


class TextToSqlSolution(Solution):
    """What a solver writes."""

    work: str = Field(
        default="", description="the tables it takes, each with the columns it uses", json_schema_extra={"maxLength": 200}
    )
    answer: str = Field(description="one SQLite SELECT statement")


class TextToSqlSample(TextToSqlQuestion, TextToSqlAnswer):
    """What a teacher writes in one go."""


class TextToSql(AnswerFirst, Rephrasable):
    """Options: `database`, the address of an SQL script that creates and fills the tables."""

    name = "text_to_sql"
    metric: ClassVar[str] = "execution match"
    max_new_tokens = 96
    Schema = TextToSqlRow
    Sample = TextToSqlSample
    Solved = TextToSqlSolution
    Answer = TextToSqlAnswer
    Question = TextToSqlQuestion
    shapes: ClassVar[str] = "tables, joins, conditions, groups, aggregates and order"

    def __init__(self, options: Fields, assets: Path | None = None) -> None:
        unknown = set(options) - {"database"}
        if unknown or not isinstance(options.get("database"), str):
            wrong = f"'{min(unknown)}' is not known" if unknown else "no database"
            raise InputError(f"task.options: {wrong}; text_to_sql takes database, an SQL script: a path or a URI")
        script = Path(options["database"]) if assets is None else assets / ASSET
        try:
            self._script = script.read_text(encoding="utf-8")
        except OSError as e:
            raise InputError(
                f"task.options.database: {script}: cannot be read ({e.strerror}); give the address of the script"
            ) from e
        except UnicodeDecodeError as e:
            raise InputError(f"task.options.database: {options['database']}: not UTF-8 text; save the script as UTF-8") from e
        self.database = SqliteDatabase(self._script, f"task.options.database: {options['database']}")
        self.description = self._described()

    def describe(self, draw: str) -> str:
        """Other values of the database for each `draw`: a teacher that knows few of its names guesses the rest."""
        return self._described(random.Random(draw))

    def _described(self, draw: random.Random | None = None) -> str:
        joins = f"They are joined by {self.database.joins()}.\n" if self.database.joins() else ""
        # What differs between draws comes last, so that a server which keeps the beginning of a prompt can use it again.
        return (
            f"{SCORING} Only these tables and columns exist:\n{self.database.schema()}\n{joins}\n"
            f"Values in them:\n{self.database.examples(draw=draw)}"
        )

    def read(self, raw: Fields) -> Fields:
        """As Task.read; a query that does not run on the database is refused too."""
        fields = super().read(raw)
        try:
            self.database.rows(fields["sql"])
        except QueryError as e:
            raise InputError(f"sql: {e}") from e
        return fields

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        database = options.get("database")
        return {"database": OptionFile(database, ASSET)} if isinstance(database, str) and database else {}

    def assets(self) -> dict[str, str]:
        return {ASSET: self._script}

    def messages(self, fields: Fields) -> list[Message]:
        schema = f"Write one SQLite query.\n{self.database.schema()}"
        return [{"role": "system", "content": schema}, {"role": "user", "content": fields["question"]}]

    def target(self, fields: Fields) -> str:
        return str(fields["sql"])

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        sql = first_statement(output)
        if not _SELECT.match(sql):
            return Score(correct=False, valid=False, predicted=sql, detail="no SELECT" if sql else "empty")
        try:
            result = self.database.rows(sql)
        except QueryError as e:
            return Score(correct=False, valid=False, predicted=sql, detail=f"error: {e}")
        gold, ordered = self.database.rows(fields["sql"]), is_ordered(fields["sql"])
        if same_rows(result, gold, ordered):
            return Score(correct=True, valid=True, predicted=sql)
        return Score(correct=False, valid=True, predicted=sql, detail=difference(result, gold))

    def question(self, fields: Fields) -> str:
        return str(fields["question"])

    def private_texts(self, fields: Fields) -> list[str]:
        """The question alone: two different questions may well need nearly the same query, and all joins read alike."""
        return [self.question(fields)]

    def features(self, fields: Fields) -> set[str]:
        return sql_features(fields["sql"])

    def sample_of(self, fields: Fields) -> TextToSqlSample:
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        tables = "; ".join(
            f"{t}({', '.join(columns)})" for t, columns in columns_used(fields["sql"], self.database.tables).items()
        )
        return TextToSqlSample.model_construct(tables=tables, sql=fields["sql"], question=fields["question"])

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        return self.with_question(self.answered(sample), sample)

    def answer_of(self, fields: Fields) -> TextToSqlAnswer:
        shown = self.sample_of(fields)
        return TextToSqlAnswer.model_construct(tables=shown.tables, sql=shown.sql)

    def question_of(self, fields: Fields) -> TextToSqlQuestion:
        return TextToSqlQuestion.model_construct(question=fields["question"])

    def answered(self, answer: BaseModel) -> Fields:
        assert isinstance(answer, TextToSqlAnswer)
        sql = " ".join(answer.sql.split()).rstrip("; ")
        if "--" in sql or "/*" in sql:
            raise InputError("sql: has a comment; write the bare statement")
        try:
            parse_query(sql)
        except ValueError as e:
            raise InputError(f"sql: {e}; write exactly one SELECT statement") from e
        return {"question": "", "sql": sql, "family": ""}

    def result_of(self, fields: Fields) -> str:
        rows = self.database.rows(fields["sql"])
        columns = ", ".join(column.sql(dialect="sqlite") for column in parse_query(fields["sql"]).selects)
        shown = "; ".join(_short(row) for row in rows[:RESULT_ROWS])
        return f"{plural(len(rows), 'row')} of ({columns})" + (f", the first: {shown}" if shown else "")

    def with_question(self, fields: Fields, question: BaseModel) -> Fields:
        assert isinstance(question, TextToSqlQuestion)
        text = " ".join(question.question.split())
        if re.match(r"(?:select|with)\b.+\bfrom\b", text, re.IGNORECASE):
            raise InputError("question: is a query; ask in plain words")
        return {**fields, "question": text}

    def wording(self, fields: Fields) -> str:
        return self.question(fields)

    def with_wording(self, fields: Fields, text: str) -> Fields:
        return self.with_question(fields, TextToSqlQuestion.model_construct(question=text))

    def must_keep(self, fields: Fields) -> list[str]:
        asked = fields["question"].casefold()
        return [text for text in dict.fromkeys(text_literals(fields["sql"])) if text and text.casefold() in asked]

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        try:
            rows = self.database.rows(fields["sql"])
        except QueryError as e:
            return f"the query fails: {e}"
        if flaw := grouping_flaw(fields["sql"], self.database.tables, self.database.keys):
            return f"the query {flaw}"
        empty = not rows or all(value is None or value == 0 for row in rows for value in row)
        # A limit set too high gives nothing and is a fine question; a name that does not exist is none.
        if empty and has_text_literal(fields["sql"]):
            return f"the query gives {'only NULL or 0' if rows else 'no rows'}; ask for values that exist in the database"
        return ""

    def unusable(self, answer: str) -> str:
        sql = first_statement(answer)
        if not _SELECT.match(sql):
            return "is no SELECT"
        try:
            self.database.rows(sql)
        except QueryError as e:
            return f"the query fails: {e}"
        return ""

    def same_answer(self, fields: Fields) -> str:
        return plain_query(fields["sql"])

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """The first of the changes, in an order drawn, that still runs and gives something else."""
        gold, ordered = self.database.rows(fields["sql"]), is_ordered(fields["sql"])
        for sql in spoilt_queries(fields["sql"], draw):
            with suppress(QueryError):
                if not same_rows(self.database.rows(sql), gold, ordered):
                    return sql
        return ""

    def gives(self, answer: str) -> str:
        try:
            rows = self.database.rows(first_statement(answer))
        except QueryError as e:
            return f"an error: {e}"
        shown = ", ".join(_short(row) for row in rows[:ROWS_SHOWN])
        return f"{plural(len(rows), 'row')}{': ' if rows else ''}{shown}{', ...' if len(rows) > ROWS_SHOWN else ''}"


def first_statement(output: str) -> str:
    """The first SQL statement in a model's output, without fences, a leading `SQL:` or the semicolon; may be empty."""
    fenced = FENCE.search(output)
    text = PREFIX.sub("", fenced.group(1) if fenced else output)
    match = STATEMENT.match(text.strip().lstrip(";"))
    return match.group(0).strip() if match else ""


def difference(found: list[ResultRow], gold: list[ResultRow]) -> str:
    """How a result differs from the right one, in a few words; both are results of queries that ran."""
    if not found:
        return f"gives no rows, expected {len(gold)}"
    if not gold or len(found) != len(gold):
        return f"gives {len(found)} rows, expected {len(gold)}"
    if len(found[0]) != len(gold[0]):
        return f"gives {len(found[0])} columns, expected {len(gold[0])}"
    if same_rows(found, gold, ordered=False):
        return "gives the right rows in the wrong order"
    return f"gives other values, e.g. {_short(found[0])} where {_short(gold[0])} is expected first"


def _short(row: ResultRow) -> str:
    text = repr(row[0] if len(row) == 1 else row)
    return text if len(text) <= 60 else f"{text[:57]}..."
