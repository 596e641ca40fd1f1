"""Sample cases made on the user's machine: real anatomy, few real heads.

No package index carries an annotated data set of many patients. These cases are random smooth warps of **one** brain:
either the MNI152 average of 152 adults (shipped inside nilearn) or one man scanned 27 times, Colin27, with the regions
drawn on his scan (Debian's `mricron-data`). Labels are warped exactly as the image is. What they can show: that a model
learns from corrected labels, forgets when the contrast changes, and recovers. What they can't: that a model would work
on another person. A score on them says nothing about patients.
"""

from tasks.images.sample.write import SampleCase, SampleSet, write_cases

__all__ = ["SampleCase", "SampleSet", "write_cases"]
