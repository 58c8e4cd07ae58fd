"""The only SQLAlchemy: tables, one transaction a verb, one repository a type, migrations, read models."""
