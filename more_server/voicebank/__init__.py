"""What can be done with whole voices: described, reviewed, packed into archives and out of them, mixed, changed.

Nothing here is kept: what is made is handed to `VoiceLibrary`. All of it blocks.
"""
