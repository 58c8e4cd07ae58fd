"""`secrets`: values that pipelines were given to use, and that no script sees."""

from rivet.modules.contract import Call, Opaque, StageContext, about


class Get(Call, module="secrets", short=("name",)):
    """A secret of the project that this pipeline may use.

    What comes back is no text. It can be joined to texts, which gives another such value, and handed on to
    fields that take a secret, such as `env` and `stdin` of `process.run`. Where it is shown it reads `***`.
    """

    name: str = about("the secret's name", minimum=1, maximum=100)

    example = 'process.run({ command = "deploy", env = { TOKEN = secrets.get("DEPLOY_TOKEN") } })'

    def act(self, stage: StageContext) -> Opaque:
        return stage.secret(self.name)
