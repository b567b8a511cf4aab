"""What the columns of files are called where they are understood."""

from __future__ import annotations

#: Columns that name a picture, or hold it; those of texts, and those of questions.
PICTURES = (
    *("picture", "image", "file_name", "filename", "file", "path", "image_path", "file_path"),
    *("filepath", "image_file", "image_name", "img", "photo", "url", "image_url", "uri"),
)
TEXTS = ("model_answer", "answer", "caption", "text", "description", "sentence", "title")
QUESTIONS = ("prompt", "question")
UNDERSTOOD = {*PICTURES, *TEXTS, *QUESTIONS, "kind"}
