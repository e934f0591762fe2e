"""Adapt a net to a user's clips: a new head, trained first alone and then with the layers below it."""
