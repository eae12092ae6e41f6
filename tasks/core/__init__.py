"""What every task is made on: the env contract, grades, and several tasks as one."""
