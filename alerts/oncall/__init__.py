"""Who is on call: people, teams, schedules, escalation, hand-over, links by which a message is answered."""
