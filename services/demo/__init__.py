"""The demo: a grocery chain on Switchyard. A fork deletes this package."""
