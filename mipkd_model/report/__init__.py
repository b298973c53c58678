"""From records to what people look at: tables, figures, costs."""
