import click


@click.command("audit")
def command():
    """x"""
