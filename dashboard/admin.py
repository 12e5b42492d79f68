"""What the console registers: jobs and the audit to read, users and groups to manage."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin

from dashboard.audit.admin import AuditEntryAdmin
from dashboard.jobs.admin import JobRecordAdmin
from dashboard.people.admin import PeopleAdmin, RoleAdmin
from dashboard.site import site
from handlers.models import AuditEntry, JobRecord

site.register(JobRecord, JobRecordAdmin)
site.register(AuditEntry, AuditEntryAdmin)
if issubclass(get_user_model(), PermissionsMixin):  # else the site keeps permissions its own way
    site.register(get_user_model(), PeopleAdmin)
site.register(Group, RoleAdmin)
