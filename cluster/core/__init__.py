"""The API's engine room: references, handles, ownership, submission, and the seam behind which an engine works."""
