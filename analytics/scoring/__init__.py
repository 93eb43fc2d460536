"""What issued forecasts were worth: scored when their time has come, judged for calibration, told."""
