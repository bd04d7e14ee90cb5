"""The mapping of HL7 v2 to FHIR R4 as tables: segment, field and component; element; type; condition.

After HL7's v2-to-FHIR guide. https://build.fhir.org/ig/HL7/v2-to-fhir/
"""
