"""HTTP: blueprints, schemas, problems. Nothing else in vmapi knows HTTP."""
