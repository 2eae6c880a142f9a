"""Charts, the report and the pictures: frames in; figures, HTML, PNG or SVG out.

Import the module you need: `equity`, `price`, `returns` and `position` make plotly figures, `report` one HTML file,
`picture` small PNG images, `sketch` a small SVG. Nothing is imported here, so that a picture does not load plotly nor
a figure matplotlib.
"""
