"""Settings, all from the environment; docs/deploy.md lists the variables. Unsafe production refuses to start."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
from csp.constants import NONE, SELF

from handlers.rq_transport.embedded import find_url
from jobsite import environment

CHECKOUT = Path(__file__).resolve().parent.parent
BASE_DIR = CHECKOUT if (CHECKOUT / "manage.py").is_file() else Path.cwd()  # an installed one works where it is run
DATA = Path(os.environ.get("JOBSITE_DATA") or BASE_DIR / "var").absolute()
PORT = environment.port()
PREFIX = environment.script_name()  # below which the site lies; gunicorn reads the same variable
FORCE_SCRIPT_NAME = PREFIX or None
DEMO = environment.flag("JOBSITE_DEMO")
CONSOLE_ENVIRONMENT = environment.badge()

# --- safety: debug off unless asked for; loopback unless hosts are named ---
DEBUG = environment.flag("DJANGO_DEBUG")
ALLOWED_HOSTS = environment.allowed_hosts(debug=DEBUG)
SECRET_KEY = environment.secret_key(DATA, ALLOWED_HOSTS, debug=DEBUG)

# DJANGO_HTTPS=0 is for a private network without TLS. A proxy's X-Forwarded-Proto is believed by gunicorn, and only
# from FORWARDED_ALLOW_IPS, so that no visitor can claim it.
HTTPS = environment.flag("DJANGO_HTTPS", default=not environment.is_loopback(ALLOWED_HOSTS))
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS else 0
# HSTS for subdomains and the preload list speak for a whole domain, which is not this site's to decide.
# axes' middleware would answer in place of the console's login page, which tells a lock-out itself.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", "axes.W002"]
CSRF_FAILURE_VIEW = "dashboard.csrf.refused"
CSRF_TRUSTED_ORIGINS = environment.names("DJANGO_CSRF_TRUSTED_ORIGINS")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = 14 * 24 * 3600
# Browsers send a host's cookies to each of its ports and paths: two sites there must not take each other's.
SESSION_COOKIE_NAME = environment.cookie_name("session", SECRET_KEY)
CONSOLE_IDLE_MINUTES = environment.minutes("JOBSITE_IDLE_MINUTES")
CSRF_COOKIE_NAME = environment.cookie_name("csrf", SECRET_KEY)
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # the default's cookie has a fixed name
CONSOLE_TRUSTED_PROXIES = environment.proxies()

# --- signing in: jobsite/logins/attempts.py says what counts ---
AUTHENTICATION_BACKENDS = ["jobsite.logins.backend.ThrottledBackend"]
AXES_HANDLER = "jobsite.logins.backend.Handler"
AXES_FAILURE_LIMIT = 5  # of one name at one address, or in one browser that the person has signed in with
LOGIN_FAILURES_OF_NAME = 20  # from wherever
LOGIN_FAILURES_OF_ADDRESS = 50  # whatever the names
AXES_COOLOFF_TIME = timedelta(minutes=15)  # for which a failure counts
AXES_USERNAME_CALLABLE = "jobsite.logins.attempts.counted_name"
AXES_CLIENT_IP_CALLABLE = "jobsite.logins.attempts.counted_address"
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
LOGIN_BROWSER_COOKIE_NAME = environment.cookie_name("browser", SECRET_KEY)
CONSOLE_LOCKOUTS = "jobsite.logins.lockouts.Lockouts"

# --- what a browser may load ---
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],  # the admin's own stylesheets draw small icons as data: URLs
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- the project ---
INSTALLED_APPS = [
    # SimpleAdminConfig: the console has an AdminSite of its own, so the default one must not collect admin modules.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_rq",
    "jobsite",  # before the engine, whose command run it replaces
    "handlers",
    "dashboard",
    *(["jobsite.demo"] if DEMO else []),
    *environment.apps(),
]
MIDDLEWARE = [
    "jobsite.health.answer_probes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "handlers.middleware.ContextMiddleware",
    "jobsite.logins.browsers.RememberBrowser",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "jobsite.urls"
WSGI_APPLICATION = "jobsite.wsgi.application"
LOGIN_URL = "admin:login"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- data ---
DATABASES: dict[str, dict[str, Any]] = {"default": environment.database(DATA)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- jobs ---
REDIS_URL = environment.redis_url(default=find_url(DATA / "redis"))
JOBS: dict[str, Any] = {
    "REDIS_URL": REDIS_URL,
    "VERSION": environment.version(),
    "METRICS_TOKEN": os.environ.get("JOBSITE_METRICS_TOKEN", ""),
    "METRICS_LOOPBACK": environment.flag("JOBSITE_METRICS_LOOPBACK"),
    "CONSOLE_URL": os.environ.get("JOBSITE_CONSOLE_URL", ""),
    "DEAD_MAN_URL": os.environ.get("JOBSITE_DEAD_MAN_URL", ""),
    "CALL_PRIVATE_ADDRESSES": environment.flag("JOBSITE_CALL_PRIVATE_ADDRESSES"),
}
if find_spec("django.tasks") or find_spec("django_tasks"):  # Django's own is there from 6.0 on
    TASKS: dict[str, dict[str, Any]] = {"default": {"BACKEND": "handlers.tasks.DurableBackend", "QUEUES": []}}
RQ_QUEUES: dict[str, dict[str, Any]] = {}  # filled at start with every declared queue
RQ_SHOW_ADMIN_LINK = False  # django-rq's pages ask for is_staff only, so none is mounted

# --- language, time, static files, mail ---
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "German"), ("fr", "French")]
LANGUAGE_COOKIE_NAME = environment.cookie_name("language", SECRET_KEY)
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE, LANGUAGE_COOKIE_SECURE = True, "Lax", HTTPS
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = f"{PREFIX}/static/"
STATIC_ROOT = DATA / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = DATA / "media"
if DEMO and django.VERSION >= (6, 1):  # which deprecates the EMAIL_ settings
    MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": DATA / "mail"},
        }
    }
elif DEMO:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = DATA / "mail"

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"job": {"()": "handlers.structured_logs.JobFields"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname:<7} {process} {name}: {message}", "style": "{"},
        "json": {"()": "handlers.structured_logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "filters": ["job"], "formatter": environment.log_format()}
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Django sends its own log to the console only while debugging; a server wants its errors always.
    "loggers": {"django": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}
