"""The portal as one application: which page answers which path.

```
/                      who I am                 /login   /login/begin   /login/discovery
/studies               search everywhere        /login/local   /login/certificate   /logout
/studies/{uid}         a study, opened there    /saml/metadata   /saml/acs   /saml/slo
/emergency/{uid}       break the glass          /help
/reviews   /audit      for auditors             /static/{name}
```
"""

from __future__ import annotations

import falcon

from services.portal.audit import Audit
from services.portal.doors import Doors
from services.portal.emergency import Emergency, Reviews
from services.portal.guard import Guard
from services.portal.home import Help, Home
from services.portal.login import Begin, Discovered, Local, Login, Logout, WithCertificate
from services.portal.pages import Pages
from services.portal.problems import Problems
from services.portal.saml import Consumer, Metadata, SingleLogout
from services.portal.static_files import StaticFiles
from services.portal.studies import Studies
from services.portal.study import Download, Open, Study


def portal(doors: Doors, *, idle_minutes: float = 0) -> falcon.App[falcon.Request, falcon.Response]:
    """The portal over these doors, as a WSGI application.

    Args:
        doors: of the node.
        idle_minutes: after which a session is over, for the first page to say.
    """
    app = falcon.App(middleware=[Guard(doors)])
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    pages = Pages(doors)
    Problems(pages).add_to(app)
    resources = {
        "/": Home(pages, idle_minutes=idle_minutes),
        "/help": Help(pages),
        "/static/{name}": StaticFiles(),
        "/login": Login(pages),
        "/login/begin": Begin(pages),
        "/login/discovery": Discovered(pages),
        "/login/local": Local(pages),
        "/login/certificate": WithCertificate(doors),
        "/logout": Logout(pages),
        "/saml/metadata": Metadata(doors),
        "/saml/acs": Consumer(doors),
        "/saml/slo": SingleLogout(pages),
        "/studies": Studies(pages),
        "/studies/{uid}": Study(pages),
        "/studies/{uid}/open": Open(pages),
        "/studies/{uid}/download": Download(doors),
        "/emergency/{uid}": Emergency(pages),
        "/reviews": Reviews(pages),
        "/audit": Audit(pages),
    }
    for path, resource in resources.items():
        app.add_route(path, resource)
    return app
